//! Into registries.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apptainer::sys::exit::FailureKind;
use fixtures::{Login, Registry};

use super::*;

#[tokio::test]
async fn what_is_pushed_and_pulled_again_is_the_same_file() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let image = world.busybox().await;
    let reference = format!("oras://{}/tools/busybox:1", registry.host());
    image.push(&reference).no_https().await.unwrap();
    let pulled = world.client().image(&reference).no_https().await.unwrap();
    let [there, back] = [&image, &pulled].map(|image| fs::read(image.sif().unwrap()).unwrap());
    assert!(there == back);
    says_hello(&pulled).await;
    world.finish();
    // A client that knows how the registry is spoken to need not be told.
    let host = registry.host();
    let world = World::with(|builder| builder.http_registry(host)).await;
    let image = world.busybox().await;
    let reference = format!("oras://{host}/other:1");
    image.push(&reference).await.unwrap();
    let pulled = world.client().image(&reference).await.unwrap();
    assert!(fs::read(pulled.sif().unwrap()).unwrap() == there);
    world.finish();
}

#[tokio::test]
async fn places_that_take_no_sif_files_are_refused_before_anything_is_asked() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let image = world.busybox().await;
    for reference in [&registry.reference("busybox:1"), "shub://a/b", "/tmp/a.sif"] {
        let error = image.push(reference).no_https().await.unwrap_err();
        assert!(
            matches!(error, ExportError::NotPushable { .. }),
            "{error:?}"
        );
    }
    let error = image.push("oras://HOST/Not a name").await.unwrap_err();
    assert!(matches!(error, ExportError::Reference(_)), "{error:?}");
    assert_eq!(registry.requests("/v2/"), 0);
    world.finish();
}

#[tokio::test]
async fn a_registry_that_wants_a_login() {
    let world = World::new().await;
    let registry = Registry::start(Login::Required);
    let image = world.busybox().await;
    let push = image.push(format!("oras://{}/busybox:1", registry.host()));
    let error = push.no_https().await.unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
    world.finish();
}

#[tokio::test]
async fn a_login_that_the_program_names() {
    let registry = Registry::start(Login::Required);
    let host = registry.host();
    let world = World::with(|builder| {
        let builder = builder.http_registry(host);
        builder.login(host, "tester", "secret")
    });
    let world = world.await;
    let image = world.busybox().await;
    let reference = format!("oras://{host}/busybox:1");
    image.push(&reference).await.unwrap();
    world.client().image(&reference).await.unwrap();
    world.finish();
}

/// A registry that is always busy, and the number of connections to it.
fn busy_registry() -> (String, Arc<AtomicUsize>) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
        Connection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                let _ = client.write_all(BUSY);
                let _ = client.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut client, &mut std::io::sink());
            });
        }
    });
    (host, asked)
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let world = World::new().await;
    let (host, asked) = busy_registry();
    let image = world.busybox().await;
    let push = async |retries| {
        let before = asked.load(Ordering::SeqCst);
        let push = image.push(format!("oras://{host}/busybox:1"));
        let error = push.no_https().retries(retries).await.unwrap_err();
        assert!(error.may_pass(), "{error:?}");
        assert_eq!(error.kind(), Some(FailureKind::Registry));
        asked.load(Ordering::SeqCst) - before
    };
    let once = push(0).await;
    assert_eq!(push(1).await, 2 * once);
    world.finish();
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = world.busybox().await;
    let reference = format!("oras://{}/busybox:1", listener.local_addr().unwrap());
    let push = image.push(&reference).no_https();
    let error = push.timeout(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ExportError::TimedOut { .. }), "{error:?}");
    // Dropped, it is killed as well.
    let push = image.push(&reference).no_https().into_future();
    let dropped = tokio::time::timeout(Duration::from_millis(300), push).await;
    dropped.unwrap_err();
    world.finish();
}
