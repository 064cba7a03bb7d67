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

async fn ends_as(service: &apptainer::instance::Service) -> State {
    let guard = tokio::time::timeout(Duration::from_secs(60), service.ended());
    guard.await.expect("it ends")
}

/// Processes of the instance by what they are.
fn parts(first: i32) -> (i32, Vec<i32>, Vec<i32>) {
    use apptainer::sys::process::Process;
    let master = Process::read(first).unwrap().unwrap().parent;
    let all = Process::all().unwrap();
    let children: Vec<_> = all
        .iter()
        .filter(|process| process.parent == master)
        .collect();
    let servers = children.iter().filter(|process| process.pid != first);
    let agents = all.iter().filter(|process| process.parent == first);
    (
        master,
        servers.map(|process| process.pid).collect(),
        agents.map(|process| process.pid).collect(),
    )
}

fn kill(pid: i32) {
    apptainer::sys::process::PidFd::open(pid)
        .unwrap()
        .signal(apptainer::sys::process::Signal::KILL)
        .unwrap();
}

#[tokio::test]
async fn what_is_killed_is_lost_and_leaves_nothing() {
    let world = World::new().await;
    let supervisor = supervisor(&world).await;
    let container = world.container().await;
    for part in ["master", "first", "agent", "server"] {
        let started = supervisor.start(&container, argv(&["sleep", "1000"]));
        let service = started.await.unwrap();
        let first = service.pid().unwrap();
        let (master, servers, agents) = parts(first);
        let pid = match part {
            "master" => master,
            "first" => first,
            "agent" => agents[0],
            _ => match servers.first() {
                Some(server) => *server,
                None => continue,
            },
        };
        kill(pid);
        let state = ends_as(&service).await;
        eprintln!("{part}: {state}");
    }
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_apptainer_stops_is_told_to_end() {
    let world = World::new().await;
    let supervisor = supervisor(&world).await;
    let container = world.container().await;
    let script = "trap 'exit 9' INT TERM; while :; do sleep 0.1; done";
    let started = supervisor.start(&container, argv(&["sh", "-c", script]));
    let service = started.await.unwrap();
    let out = std::process::Command::new("apptainer")
        .args(["instance", "stop", service.name()])
        .env("APPTAINER_CONFIGDIR", world.folder().join("config"))
        .output()
        .unwrap();
    eprintln!("{out:?}");
    let state = ends_as(&service).await;
    eprintln!("{state}");
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn foreign() {
    let world = World::new().await;
    let supervisor = supervisor(&world).await;
    let container = world.container().await;
    std::fs::write(world.folder().join("s"), "#!/bin/sh\nsleep 2; exit 5\n").unwrap();
    std::fs::set_permissions(
        world.folder().join("s"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let container = container.bind(world.folder().join("s"), "/.singularity.d/startscript");
    let instance = container.start_as("foreign").await.unwrap();
    let service = supervisor.adopt("foreign").await.unwrap();
    let mut events = service.events();
    while let Some(event) = events.next().await {
        eprintln!("{event:?}");
        if matches!(
            event.kind,
            apptainer::instance::EventKind::PayloadEnded { .. }
        ) {
            service.stop().await.unwrap();
        }
    }
    drop(supervisor);
    drop(instance);
    world.finish();
}
