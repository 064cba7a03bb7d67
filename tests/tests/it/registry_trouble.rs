//! Registries that refuse, hang up, or never answer.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use apptainer::image::{ImageError, Phase, RegistryError};
use fixtures::{Login, Registry, Server, World, busybox_archive, respond};

/// Nothing at all may be left in the store.
pub(crate) fn assert_empty(world: &World) {
    for folder in ["v1/images", "v1/work"] {
        let folder = world.client().store_dir().join(folder);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}

pub(crate) fn of_registry(error: &ImageError) -> &RegistryError {
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
    let proxy = proxy(&registry, 100_000, Arc::default());
    let image = world.client().image(proxy.reference("busybox:1"));
    let error = image.no_https().retries(1).await.unwrap_err();
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
    let proxy = proxy(&registry, u64::MAX, Arc::clone(&is_busy));
    let reference = proxy.reference("busybox:1");
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
fn proxy(registry: &Registry, most: u64, is_busy: Arc<AtomicBool>) -> Server {
    let registry = registry.host().to_owned();
    Server::start(move |request, stream| {
        if is_busy.load(Ordering::SeqCst) {
            return respond(stream, "503 Service Unavailable", "", "");
        }
        let answer = request.pass_on(&registry)?;
        std::io::copy(&mut answer.take(most), stream).map(drop)
    })
}
