//! Registries that refuse, hang up, or never answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use apptainer::image::ImageError;
use apptainer::sys::exit::FailureKind;
use fixtures::{Login, Registry, World, busybox_archive};

/// Nothing at all may be left in the store.
fn assert_empty(world: &World) {
    for folder in ["v1/images", "v1/work"] {
        let folder = world.client().store_dir().join(folder);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
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
    assert_eq!(error.kind(), Some(FailureKind::Registry), "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
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
    assert_eq!(error.kind(), Some(FailureKind::Registry), "{error}");
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
    let host = hang_up_in_large_answers(registry.host());
    let image = world
        .client()
        .image(format!("docker://{host}/busybox:1"))
        .no_https();
    let error = image.await.unwrap_err();
    assert!(error.kind().is_some(), "{error:?}");
    assert_empty(&world);
    world.finish();
}

/// A proxy before a registry, which closes the connection once an answer has grown
/// to 100 kB: larger than any manifest, smaller than the layer.
fn hang_up_in_large_answers(registry: &str) -> String {
    const MOST: u64 = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let registry = registry.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut requests = BufReader::new(client.try_clone()?);
                let mut request = Vec::new();
                loop {
                    let length = requests.read_until(b'\n', &mut request)?;
                    if length == 0 || request.ends_with(b"\r\n\r\n") {
                        break;
                    }
                }
                // One request a connection, so that an answer ends with it.
                let text = String::from_utf8_lossy(&request).into_owned();
                let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
                let mut server = TcpStream::connect(&registry)?;
                write!(server, "{first}\r\nConnection: close\r\n{rest}")?;
                std::io::copy(&mut server.take(MOST), &mut &client)?;
                client.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    host
}
