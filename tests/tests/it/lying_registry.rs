//! Registries that send something else than what they were asked for, or never stop.
//!
//! Each is refused for what it does, in time, with little memory, and leaves nothing.

mod token;
mod transport;

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use apptainer::Builder;
use apptainer::image::{ImageError, RegistryError};
use fixtures::{Login, Registry, Request, Server, World, busybox_archive, respond};

use crate::registry_trouble::assert_empty;

/// How long an image may take here.
const LIMIT: Duration = Duration::from_secs(20);

/// How much the tests' memory may grow in the meantime, in bytes: the registry's is in it.
const MEMORY: u64 = 64 << 20;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The digest of `{}`.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Asks for an image that cannot be had, and tells why that is.
async fn refusal(server: &Server) -> RegistryError {
    of_registry(refusal_with(server, "a:1", LIMIT, |builder| builder).await)
}

fn of_registry(error: ImageError) -> RegistryError {
    match error {
        ImageError::Registry { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

async fn refusal_with(
    server: &Server,
    image: &str,
    limit: Duration,
    settings: impl FnOnce(Builder) -> Builder,
) -> ImageError {
    let http = server.host();
    let with_http = |builder: Builder| settings(builder.http_registry(http));
    refusal_at(&server.reference(image), limit, with_http).await
}

async fn refusal_at(
    reference: &str,
    limit: Duration,
    settings: impl FnOnce(Builder) -> Builder,
) -> ImageError {
    let world = World::with(settings).await;
    // From now on: this forgets what it was before.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = peak();
    let image = world.client().image(reference);
    let asked = image.retries(0).timeout(limit).into_future();
    let error = tokio::time::timeout(3 * LIMIT, asked).await;
    let error = error.expect("it ends in its time").unwrap_err();
    let grown = peak().saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes more");
    assert_empty(&world);
    let may_go_on = error.may_pass() || matches!(error, ImageError::TimedOut { .. });
    assert!(may_go_on || !has_part(&world), "wrong, and kept");
    world.finish();
    let text = error.to_string();
    println!("{text}");
    assert!(text.len() < 2000, "{} bytes of text", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
    error
}

/// Whether some of the layer is kept that no server really has.
fn has_part(world: &World) -> bool {
    let part = format!("v1/blobs/{}.part", DIGEST.replace(':', "-"));
    let part = std::fs::metadata(world.client().store_dir().join(part));
    part.is_ok_and(|part| part.len() > 0)
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// A manifest of these layers, with an empty configuration.
fn manifest(layers: &[serde_json::Value]) -> String {
    let config = descriptor("application/vnd.oci.image.config.v1+json", EMPTY, 2);
    serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string()
}

/// A registry that answers each question for a manifest alike.
fn with_manifest(manifest: impl Into<String>) -> Server {
    with_layer(manifest.into(), |_, stream| {
        respond(stream, "404 Not Found", "", "")
    })
}

/// A registry with an image of one layer, of which it says that it has 1000 bytes.
fn with_layer_of_1000(
    answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    with_layer(manifest(&[descriptor(OCI_LAYER, DIGEST, 1000)]), answer)
}

fn with_layer(
    manifest: String,
    answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request, stream| {
        if request.path.contains("/manifests/") {
            respond(stream, "200 OK", "", &manifest)
        } else if request.path.ends_with(EMPTY) {
            respond(stream, "200 OK", "", "{}")
        } else {
            answer(request, stream)
        }
    })
}

fn without_end(stream: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    let many = piece.repeat(64 * 1024 / piece.len());
    loop {
        stream.write_all(&many)?;
    }
}

fn drip(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(b"a")?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_manifest_that_does_not_have_the_digest_that_was_asked_for() {
    let server = with_manifest(manifest(&[]));
    let image = format!("a@{DIGEST}");
    let error = refusal_with(&server, &image, LIMIT, |builder| builder).await;
    let error = of_registry(error);
    assert!(
        matches!(&error, RegistryError::Digest { expected, .. } if expected == DIGEST),
        "{error:?}"
    );
    assert!(error.to_string().contains("sends something else"));
}

#[tokio::test]
async fn a_manifest_that_does_not_have_the_digest_that_the_registry_says() {
    for said in [DIGEST, "sha256:../../../etc/passwd", "nonsense", ""] {
        let server = Server::start(move |_, stream| {
            let digest = format!("Docker-Content-Digest: {said}\r\n");
            respond(stream, "200 OK", &digest, manifest(&[]))
        });
        let error = refusal(&server).await;
        assert!(
            matches!(&error, RegistryError::Digest { expected, .. } if expected == said),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_without_end() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{")?;
        without_end(stream, b" ")
    });
    let error = refusal(&server).await;
    let is_it = matches!(
        error,
        RegistryError::TooLarge {
            what: "a manifest",
            ..
        }
    );
    assert!(is_it, "{error:?}");
}

#[tokio::test]
async fn a_manifest_of_a_hundred_thousand_layers() {
    let layers = vec![descriptor(OCI_LAYER, DIGEST, 1); 100_000];
    let error = refusal(&with_manifest(manifest(&layers))).await;
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn as_many_layers_as_a_manifest_has_room_for() {
    let layer = |number| descriptor("application/vnd.oci.image.layer.v1.tar", &digest(number), 1);
    let layers: Vec<_> = (0..25_000).map(layer).collect();
    let error = refusal(&with_manifest(manifest(&layers))).await;
    assert!(error.is_not_found(), "{error:?}");
}

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

#[tokio::test]
async fn an_index_that_leads_to_an_index() {
    const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;
    const DIGEST_OF_INDEX: &str =
        "sha256:bc5857ac9458293d5111ab85c952172cd7f56bceb4e3014ddc4cafac8927b313";
    let platform = serde_json::json!({ "os": "linux", "architecture": host_architecture() });
    let mut entry = descriptor(
        "application/vnd.oci.image.index.v1+json",
        DIGEST_OF_INDEX,
        34,
    );
    entry["platform"] = platform;
    let outer = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let server = Server::start(move |request, stream| {
        let is_inner = request.path.ends_with(DIGEST_OF_INDEX);
        respond(stream, "200 OK", "", if is_inner { INDEX } else { &outer })
    });
    let error = refusal(&server).await;
    assert!(error.to_string().contains("another index"), "{error}");
    assert!(
        matches!(error, RegistryError::Malformed { .. }),
        "{error:?}"
    );
}

/// As Go calls it.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[tokio::test]
async fn digests_that_are_paths() {
    for path in ["../../../etc/passwd", "sha256:../../x", "sha256:", "/x"] {
        let layer = manifest(&[descriptor(OCI_LAYER, path, 1)]);
        let config = manifest(&[]).replace(EMPTY, path);
        let entry = descriptor("", path, 1);
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
        for text in [layer, config, index.to_string()] {
            let error = refusal(&with_manifest(text)).await;
            assert!(
                matches!(error, RegistryError::Malformed { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("is no digest"), "{error}");
        }
    }
}

#[tokio::test]
async fn layers_that_lie_elsewhere() {
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        let mut layer = descriptor(media_type, DIGEST, 1);
        layer["urls"] = serde_json::json!(["http://127.0.0.1:1/layer"]);
        let error = refusal(&with_manifest(manifest(&[layer]))).await;
        assert!(
            matches!(&error, RegistryError::MediaType { media_type: told } if told == media_type),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_of_the_first_schema() {
    let server = with_manifest(
        r#"{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[{"blobSum":"sha256:00"}],"history":[]}"#,
    );
    let error = refusal(&server).await;
    assert!(
        matches!(error, RegistryError::Malformed { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("first schema"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_none() {
    for text in ["", "<html>", "[]", "{}", "{\"schemaVersion\":2,"] {
        let error = refusal(&with_manifest(text)).await;
        assert!(
            matches!(error, RegistryError::Malformed { .. }),
            "{error:?}"
        );
    }
    let deep = refusal(&with_manifest("[".repeat(1 << 20))).await;
    assert!(matches!(deep, RegistryError::Malformed { .. }), "{deep:?}");
}

#[tokio::test]
async fn what_it_sends_is_not_told_at_length() {
    let long = "\u{7}long".repeat(400_000);
    let wrong_digest = manifest(&[descriptor(OCI_LAYER, &long, 1)]);
    let wrong_type = manifest(&[descriptor(&long, DIGEST, 1)]);
    let no_number = manifest(&[]).replace(":2", &format!(":{}", serde_json::json!(long)));
    for text in [wrong_digest, wrong_type, no_number] {
        refusal(&with_manifest(text)).await;
    }
    // It is asked at a port that nobody can listen at.
    let location = format!("Location: http://127.0.0.1:0/{}\r\n", "x".repeat(50_000));
    refusal(&Server::start(move |_, stream| {
        respond(stream, "307 Temporary Redirect", &location, "")
    }))
    .await;
}

#[tokio::test]
async fn a_layer_with_another_digest() {
    let server = with_layer_of_1000(|_, stream| respond(stream, "200 OK", "", [b'a'; 1000]));
    let error = refusal(&server).await;
    assert!(
        matches!(&error, RegistryError::Digest { expected, .. } if expected == DIGEST),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_layer_that_ends_before_its_end() {
    let server = with_layer_of_1000(|_, stream| respond(stream, "200 OK", "", [b'a'; 500]));
    let error = refusal(&server).await;
    let is_it = matches!(
        error,
        RegistryError::Length {
            expected: 1000,
            actual: 500,
            ..
        }
    );
    assert!(is_it, "{error:?}");
}

#[tokio::test]
async fn a_layer_that_breaks_off() {
    let server = with_layer_of_1000(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\naaa")
    });
    let error = refusal(&server).await;
    assert!(error.is_unreachable() && error.may_pass(), "{error:?}");
}

#[tokio::test]
async fn a_layer_that_goes_on_after_its_end() {
    let server = with_layer_of_1000(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\naaa")?;
        // So that this is read, and kept, before it is known to be too long.
        std::thread::sleep(Duration::from_millis(200));
        without_end(stream, b"a")
    });
    let error = refusal(&server).await;
    let is_it =
        matches!(error, RegistryError::Length { expected: 1000, actual, .. } if actual > 1000);
    assert!(is_it, "{error:?}");
    assert!(!error.may_pass());
}

#[tokio::test]
async fn a_url_that_is_a_secret_is_neither_told_nor_kept() {
    let content = std::fs::read(fixtures::busybox_sif()).unwrap();
    // Signed for GET alone.
    let server = Server::start(move |request, stream| match request.method.as_str() {
        "GET" => respond(stream, "200 OK", "ETag: \"a\"\r\n", &content),
        _ => respond(stream, "403 Forbidden", "", ""),
    });
    let url = |host: &str| format!("http://user:hunter2@{host}/a.sif?sig=hunter2&t=hunter2");
    let world = World::new().await;
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = std::sync::Arc::clone(&told);
    let image = world.client().image(url(&server.host()));
    let image = image.on_progress(move |progress| {
        keep.lock().unwrap().push(format!("{progress:?}"));
    });
    let image = image.await.unwrap();
    let asked = server.requests();
    assert!(
        asked
            .iter()
            .all(|request| request.path.contains("sig=hunter2"))
    );
    let mut shown = told.lock().unwrap().clone();
    assert!(!shown.is_empty());
    shown.push(format!("{image:?}"));
    // Nobody listens there.
    let error = world.client().image(url("127.0.0.1:1")).retries(0).await;
    let error = error.unwrap_err();
    shown.push(format!("{error} {error:?}"));
    for text in shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "--include=*.json", "hunter2"])
        .arg(world.client().store_dir())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    drop(image);
    world.finish();
}

#[tokio::test]
async fn a_mirror_that_sends_half_of_something_else() {
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let behind = registry.host().to_owned();
    let mirror = Server::start(move |request, stream| {
        if request.path.contains("/blobs/") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\naaa");
        }
        io::copy(&mut request.pass_on(&behind)?, stream).map(drop)
    });
    let hosts = [registry.host().to_owned(), mirror.host()];
    let world = World::with(|builder| {
        let [registry, mirror] = hosts.clone();
        let builder = builder.http_registry(&registry).http_registry(&mirror);
        builder.mirror(registry, mirror)
    });
    let world = world.await;
    let image = world.client().image(registry.reference("busybox:1"));
    image.retries(0).await.unwrap();
    assert!(
        mirror
            .requests()
            .iter()
            .any(|request| request.path.contains("/blobs/"))
    );
    world.finish();
}
