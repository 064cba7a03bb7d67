//! Ends that nobody asked for.

use apptainer::instance::{EventKind, Lost, State};
use apptainer::sys::process::{Exit, Pid, PidFd, Process, Signal};
use fixtures::World;

use super::{WAIT, end, stopped};

/// What an instance is made of, on the host.
pub(super) struct Parts {
    pub(super) master: Pid,
    pub(super) first: Pid,
    pub(super) agent: Pid,
    pub(super) servers: Vec<Pid>,
}

impl Parts {
    /// Those of the instance with this first process.
    pub(super) fn of(first: Pid) -> Self {
        let master = Process::read(first).unwrap().unwrap().parent;
        let all = Process::all().unwrap();
        let below = |parent| {
            let children = all.iter().filter(move |process| process.parent == parent);
            children.map(|process| process.pid)
        };
        Self {
            master,
            first,
            agent: below(first).next().unwrap(),
            servers: below(master).filter(|pid| *pid != first).collect(),
        }
    }
}

pub(super) fn kill(pid: Pid) {
    PidFd::open(pid).unwrap().signal(Signal::KILL).unwrap();
}

#[tokio::test]
async fn what_is_killed_is_lost_and_leaves_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let lost = async |part: fn(&Parts) -> Option<Pid>| {
        let service = supervisor.start(&world.spec().command(WAIT)).await.unwrap();
        if let Some(pid) = part(&Parts::of(service.pid())) {
            kill(pid);
            Some(end(&service).await)
        } else {
            service.stop().await.unwrap();
            None
        }
    };
    let state = |why| Some(State::Lost(why));
    assert_eq!(lost(|parts| Some(parts.master)).await, state(Lost::Master));
    assert_eq!(
        lost(|parts| Some(parts.first)).await,
        state(Lost::Container)
    );
    assert_eq!(lost(|parts| Some(parts.agent)).await, state(Lost::Agent));
    if let Some(lost) = lost(|parts| parts.servers.first().copied()).await {
        assert_eq!(lost, State::Lost(Lost::FileSystem));
    }
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_payload_that_is_killed_is_said_to_have_been() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let service = supervisor.start(&world.spec().command(WAIT)).await.unwrap();
    let agent = Parts::of(service.pid()).agent;
    let all = Process::all().unwrap();
    let payload = all.iter().find(|process| process.parent == agent).unwrap();
    kill(payload.pid);
    let stopped = stopped(&service).await;
    assert_eq!(stopped.exit, Some(Exit::Signal(Signal::KILL)));
    assert!(!stopped.was_asked && !stopped.is_out_of_memory);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_somebody_stops_with_apptainer_is_told_to_end() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let script = "trap 'exit 9' INT; echo up; while :; do sleep 0.01; done";
    let service = supervisor
        .start(&world.spec().command(["sh", "-c", script]))
        .await
        .unwrap();
    let mut lines = service.read_logs().follow(true).lines().await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text(), "up");
    let mut apptainer = std::process::Command::new("apptainer")
        .args(["--silent", "instance", "stop", service.name()])
        .env("APPTAINER_CONFIGDIR", world.folder().join("config"))
        .spawn()
        .unwrap();
    assert_eq!(stopped(&service).await.exit, Some(Exit::Code(9)));
    // It waits for what this program, which takes in orphans, has not waited for.
    apptainer.kill().unwrap();
    apptainer.wait().unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn instances_of_others_are_watched_and_outlive_that() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let instance = world.container().await.start_as("theirs").await.unwrap();
    let service = supervisor.adopt("theirs").await.unwrap();
    assert_eq!(service.pid(), instance.pid());
    service.ready().await.unwrap();
    let status = service.command("true").unwrap().status().await.unwrap();
    assert!(status.success());
    drop(supervisor);
    // Nobody tells of it any more.
    let mut events = service.events();
    while events.next().await.is_some() {}
    assert!(instance.is_running().unwrap());

    let supervisor = world.supervisor().await;
    let service = supervisor.adopt("theirs").await.unwrap();
    kill(service.pid());
    assert_eq!(end(&service).await, State::Lost(Lost::Container));
    drop((supervisor, instance));
    world.finish();
}

#[tokio::test]
async fn how_the_payload_of_another_ended_is_known_where_the_kernel_tells() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let script = world.folder().join("script");
    std::fs::write(&script, "#!/bin/sh\nread line < /fifo\nexit 5\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let fifo = world.folder().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let container = world.container().await;
    let container = container
        .bind(&script, "/.singularity.d/startscript")
        .bind(&fifo, "/fifo");
    let instance = container.start_as("theirs").await.unwrap();
    let service = supervisor.adopt("theirs").await.unwrap();
    let mut events = service.events();
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "go\n"))
        .await
        .unwrap()
        .unwrap();
    let exit = loop {
        if let EventKind::PayloadEnded { exit } = events.next().await.unwrap().kind {
            break exit;
        }
    };
    assert!([None, Some(Exit::Code(5))].contains(&exit), "{exit:?}");
    service.stop().await.unwrap();
    assert_eq!(stopped(&service).await.exit, exit);
    drop((supervisor, instance));
    world.finish();
}
