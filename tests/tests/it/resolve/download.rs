//! Connections that break and are gone on with, files at URLs, and images pushed by Apptainer.

use std::fs;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apptainer::image::PullPolicy;
use fixtures::{Login, Registry, Server, World, busybox_archive, busybox_sif, respond};

use super::{POLICIES, asked, before, get};

/// After how many bytes a connection breaks.
const MOST: u64 = 600_000;

fn ranges(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let ranges = requests
        .iter()
        .filter_map(|request| request.header("Range"));
    ranges.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_layer_is_gone_on_with_where_the_connection_broke() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let behind = registry.host().to_owned();
    let server = Server::start(move |request, stream| {
        let answer = request.pass_on(&behind)?;
        io::copy(&mut answer.take(MOST), stream).map(drop)
    });
    let image = world.client().image(server.reference("busybox:1"));
    let image = image.no_https().await.unwrap();
    let ranges = ranges(&server);
    assert!(!ranges.is_empty(), "the layer has more than {MOST} bytes");
    for range in ranges {
        assert_ne!(range, "bytes=0-");
    }
    let whole = get(
        world.client(),
        &registry.reference("busybox:1"),
        PullPolicy::Always,
    )
    .await;
    assert_eq!(whole.unwrap().path(), image.path(), "it is the same image");
    world.finish();
}

/// A file that is served, as long as `etag` says the same of it.
struct File {
    etag: Arc<Mutex<String>>,
    server: Server,
}

impl File {
    /// Breaks each connection after so many bytes.
    fn serve(most: u64) -> Self {
        let etag = Arc::new(Mutex::new("\"one\"".to_owned()));
        let now = Arc::clone(&etag);
        let content = fs::read(busybox_sif()).unwrap();
        let server = Server::start(move |request, stream| {
            let etag = now.lock().unwrap().clone();
            let range = request
                .header("Range")
                .filter(|_| request.header("If-Range") == Some(&etag));
            let offset = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let offset: usize = offset.map_or(0, |offset| offset.parse().unwrap());
            let (length, last) = (content.len() - offset, content.len() - 1);
            let (status, range) = if offset == 0 {
                ("200 OK", String::new())
            } else {
                let range = format!("bytes {offset}-{last}/{}", content.len());
                ("206 Partial Content", format!("Content-Range: {range}\r\n"))
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nETag: {etag}\r\n\
                 Content-Length: {length}\r\n{range}\r\n"
            )?;
            if request.method == "HEAD" {
                return Ok(());
            }
            io::copy(&mut content[offset..].take(most), stream).map(drop)
        });
        Self { etag, server }
    }

    fn url(&self) -> String {
        format!("http://{}/busybox.sif", self.server.host())
    }

    fn change(&self, etag: &str) {
        etag.clone_into(&mut self.etag.lock().unwrap());
    }
}

#[tokio::test]
async fn a_file_is_gone_on_with_where_the_connection_broke() {
    let world = World::new().await;
    let file = File::serve(MOST);
    let image = world.client().image(file.url()).await.unwrap();
    assert_eq!(ranges(&file.server), [format!("bytes={MOST}-")]);
    let got = fs::read(image.sif().unwrap()).unwrap();
    assert!(
        got == fs::read(busybox_sif()).unwrap(),
        "it is another file"
    );
    world.finish();
}

#[tokio::test]
async fn a_file_whose_state_nobody_can_tell_is_fetched_from_the_beginning() {
    let world = World::new().await;
    let file = File::serve(MOST);
    file.change("W/\"weak\"");
    let image = world.client().image(file.url()).retries(1);
    let error = image.await.unwrap_err();
    assert!(error.may_pass(), "{error:?}");
    assert_eq!(ranges(&file.server), [""; 0]);
    crate::registry_trouble::assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn a_file_is_fetched_again_when_its_server_says_that_it_changed() {
    let world = World::new().await;
    let file = File::serve(u64::MAX);
    let url = file.url();
    let get = async |policy| get(world.client(), &url, policy).await.unwrap();
    let first = get(PullPolicy::IfMissing).await;
    let fetched = || {
        let all = asked(&file.server, 0);
        all.iter().filter(|asked| asked.starts_with("GET")).count()
    };
    for policy in POLICIES {
        assert_eq!(get(policy).await.path(), first.path());
    }
    assert_eq!(fetched(), 1);
    file.change("\"two\"");
    let since = file.server.requests().len();
    for policy in [
        PullPolicy::Never,
        PullPolicy::IfMissing,
        PullPolicy::default(),
    ] {
        assert_eq!(get(policy).await.path(), first.path());
    }
    assert_eq!(asked(&file.server, since), [""; 0]);
    let second = get(PullPolicy::IfOlderThan(Duration::ZERO)).await;
    assert_ne!(second.path(), first.path());
    assert_eq!(fetched(), 2);
    world.finish();
}

#[tokio::test]
async fn a_file_that_is_not_an_image() {
    let world = World::new().await;
    let server = Server::start(|_, stream| respond(stream, "200 OK", "", "<html>"));
    let url = format!("http://{}/a.sif", server.host());
    let error = world.client().image(url).await.unwrap_err();
    assert!(error.to_string().contains("SIF"), "{error}");
    crate::registry_trouble::assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn an_image_that_apptainer_pushed_is_fetched_as_it_is() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    let pushed = Command::new("apptainer")
        .args(["push", "--allow-unsigned", "--no-https"])
        .arg(busybox_sif())
        .arg(format!("oras://{}/busybox:1", registry.host()))
        .output()
        .unwrap();
    assert!(
        pushed.status.success(),
        "{}",
        String::from_utf8_lossy(&pushed.stderr)
    );
    let reference = server.reference("busybox:1").replace("docker:", "oras:");
    let image = get(world.client(), &reference, PullPolicy::Always)
        .await
        .unwrap();
    let got = fs::read(image.sif().unwrap()).unwrap();
    assert!(
        got == fs::read(busybox_sif()).unwrap(),
        "it is another file"
    );
    let digest = image.resolution().unwrap().digest.clone().unwrap();
    let since = server.requests().len();
    get(world.client(), &reference, PullPolicy::Always)
        .await
        .unwrap();
    assert_eq!(asked(&server, since), ["HEAD /v2/busybox/manifests/1"]);
    let fixed = reference.replace("busybox:1", &format!("busybox@{digest}"));
    let fixed = get(world.client(), &fixed, PullPolicy::Never).await;
    assert_eq!(fixed.unwrap().path(), image.path());
    world.finish();
}
