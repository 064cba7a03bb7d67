//! Instances under supervision.

use std::time::Duration;

use apptainer::instance::{State, Supervisor};
use fixtures::World;

async fn supervisor(world: &World) -> Supervisor {
    let builder = world.client().supervisor("test");
    let builder = builder.runtime_dir(world.folder().join("runtime"));
    builder.open().await.unwrap()
}

fn argv(words: &[&str]) -> Option<Vec<std::ffi::OsString>> {
    Some(words.iter().map(Into::into).collect())
}

#[tokio::test]
async fn one_is_started_used_and_stopped() {
    let world = World::new().await;
    let supervisor = supervisor(&world).await;
    let container = world.container().await;
    let t = std::time::Instant::now();
    let service = supervisor.start(&container, None).await.unwrap();
    eprintln!("started {:?}", t.elapsed());
    service.ready().await.unwrap();
    let output = service.command("hostname").unwrap().output().await.unwrap();
    assert!(output.status.success());
    eprintln!("command {:?}", t.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let t = std::time::Instant::now();
    service.stop().await.unwrap();
    eprintln!("stopped {:?}", t.elapsed());
    assert!(
        matches!(service.state(), State::Stopped(_)),
        "{}",
        service.state()
    );
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn the_exit_of_a_payload_is_known() {
    let world = World::new().await;
    let supervisor = supervisor(&world).await;
    let container = world.container().await;
    let started = supervisor.start(&container, argv(&["sh", "-c", "echo out; sleep 1; exit 7"]));
    let service = started.await.unwrap();
    let state = service.ended().await;
    let State::Stopped(stopped) = state else {
        panic!("{state}");
    };
    assert_eq!(stopped.exit.unwrap().code(), Some(7));
    assert!(!stopped.was_asked);
    drop(supervisor);
    world.finish();
}
