//! Registries that refuse, hang up, or never answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use apptainer::image::{ImageError, Phase, RegistryError};
use fixtures::{Login, Registry, World, busybox_archive};

/// Nothing at all may be left in the store.
fn assert_empty(world: &World) {
    for folder in ["v1/images", "v1/work"] {
        let folder = world.client().store_dir().join(folder);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}

fn of_registry(error: &ImageError) -> &RegistryError {
    match error {
        ImageError::Registry { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_that_refuses_the_connection() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let error = world
        .client()
        .image(format!("docker://{host}/a:1"))
        .no_https()
        .await;
    let error = error.unwrap_err();
    assert!(of_registry(&error).is_unreachable(), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(!error.may_pass(), "nobody is there");
    assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn one_that_has_no_such_image() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let error = world
        .client()
        .image(registry.reference("nosuch:1"))
        .no_https()
        .await;
    let error = error.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn one_that_asks_for_a_password() {
    let world = World::new().await;
    let registry = Registry::start(Login::Required);
    registry.push(&busybox_archive(), "busybox:1");
    let error = world
        .client()
        .image(registry.reference("busybox:1"))
        .no_https()
        .await;
    let error = error.unwrap_err();
    assert!(error.is_unauthorized(), "{error}");
    assert!(error.to_string().contains("registry login"), "{error}");
    assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn one_that_speaks_http_where_https_is_expected() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let error = world.client().image(&reference).await.unwrap_err();
    assert!(of_registry(&error).is_unreachable(), "{error}");
    assert!(error.to_string().contains("http_registry"), "{error}");
    assert_empty(&world);
    world.finish();
    let host = registry.host();
    let world = World::with(|builder| builder.http_registry(host)).await;
    world.client().image(&reference).await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_that_never_answers_is_given_up() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let started = Instant::now();
    let image = world
        .client()
        .image(format!("docker://{host}/a:1"))
        .no_https();
    let error = image.timeout(Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(error, ImageError::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    drop(listener);
    world.finish();
}

#[tokio::test]
async fn one_that_hangs_up_in_the_middle_of_a_layer() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    // Larger than any manifest, smaller than the layer.
    let host = proxy(registry.host(), 100_000, Arc::default());
    let image = world
        .client()
        .image(format!("docker://{host}/busybox:1"))
        .no_https();
    let error = image.retries(1).await.unwrap_err();
    assert!(of_registry(&error).is_unreachable(), "{error}");
    assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn one_that_is_busy_is_asked_again() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let is_busy = Arc::new(AtomicBool::new(true));
    let host = proxy(registry.host(), u64::MAX, Arc::clone(&is_busy));
    let reference = format!("docker://{host}/busybox:1");
    let image = || world.client().image(&reference).no_https();
    let error = image().retries(0).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let busy = of_registry(&error);
    assert!(
        matches!(busy, RegistryError::Status { status: 503, .. }),
        "{busy:?}"
    );
    assert_empty(&world);
    let image = image().on_progress(move |progress| {
        if progress.phase == Phase::Pausing {
            is_busy.store(false, Ordering::SeqCst);
        }
    });
    image.await.unwrap();
    world.finish();
}

/// A proxy before a registry, which closes the connection once an answer has grown to so many
/// bytes, and answers by itself while it is busy.
fn proxy(registry: &str, most: u64, is_busy: Arc<AtomicBool>) -> String {
    /// How a connection by TLS begins.
    const HANDSHAKE: u8 = 0x16;
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let registry = registry.clone();
            let is_busy = is_busy.load(Ordering::SeqCst);
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut requests = BufReader::new(client.try_clone()?);
                let mut request = Vec::new();
                // TLS is tried first, and would wait for an answer.
                if requests.fill_buf()?.first() == Some(&HANDSHAKE) {
                    return client.shutdown(std::net::Shutdown::Both);
                }
                loop {
                    let length = requests.read_until(b'\n', &mut request)?;
                    if length == 0 || request.ends_with(b"\r\n\r\n") {
                        break;
                    }
                }
                if is_busy {
                    (&client).write_all(BUSY)?;
                    return client.shutdown(std::net::Shutdown::Both);
                }
                // One request a connection, so that an answer ends with it.
                let text = String::from_utf8_lossy(&request).into_owned();
                let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
                let mut server = TcpStream::connect(&registry)?;
                write!(server, "{first}\r\nConnection: close\r\n{rest}")?;
                std::io::copy(&mut server.take(most), &mut &client)?;
                client.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    host
}
