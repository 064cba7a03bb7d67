//! What becomes of instances when the program that supervises them is killed.

use std::path::Path;
use std::time::Duration;

use apptainer::Rootfs;
use apptainer::instance::{
    Event, EventKind, InstanceError, Lost, Recovery, Service, Spec, State, Supervisor,
};
use apptainer::sys::process::State::Zombie;
use apptainer::sys::process::{Exit, Pid, Process, Signal};
use fixtures::World;

use super::ended::{Parts, kill};
use super::program::{Program, Then};
use super::{WAIT, stopped, until};

/// How long what ends by itself may take, on a machine with much to do.
const SOON: Duration = Duration::from_secs(60);

/// The next supervisor of this name.
async fn opened(world: &World, recovery: Recovery) -> Supervisor {
    let builder = world.client().supervisor("test").recovery(recovery);
    let builder = builder.runtime_dir(world.folder().join("runtime"));
    builder.open().await.unwrap()
}

/// The states that one has been in, once it has ended.
async fn states(service: &Service) -> Vec<State> {
    let mut events = service.events();
    let mut states = Vec::new();
    while let Some(Event { kind, .. }) = events.next().await {
        if let EventKind::State(state) = kind {
            states.push(state);
        }
    }
    states
}

/// The processes that have a word in their command line, but for zombies.
fn with_word(tag: &str) -> Vec<Pid> {
    let has_word = |process: &Process| {
        let words = Process::command_line(process.pid).unwrap();
        words.is_some_and(|words| words.iter().any(|other| other == tag.as_bytes()))
    };
    let mut all = Process::all().unwrap();
    all.retain(|process| process.state != Zombie);
    let found = all.iter().filter(|process| has_word(process));
    found.map(|process| process.pid).collect()
}

fn tag() -> String {
    format!("8{}", std::process::id())
}

#[tokio::test]
async fn what_ran_is_found_again_and_obeys() {
    let world = World::new().await;
    let specs = ["one", "two"].map(|name| world.spec().name(name).command(WAIT));
    let program = Program::running(&world, "test", &specs, &Then::Nothing);
    let before = world.client().instances().await.unwrap();
    program.kill();

    let supervisor = opened(&world, Recovery::Reattach).await;
    let names: Vec<_> = supervisor
        .services()
        .iter()
        .map(|service| service.name().to_owned())
        .collect();
    assert_eq!(names, ["one", "two"]);
    for service in supervisor.services() {
        assert_eq!(service.state(), State::Ready);
        let was = before.iter().find(|other| other.name == service.name());
        assert_eq!(service.pid(), was.unwrap().pid);
        let mut command = service.command("echo").unwrap();
        let output = command.arg("here").output().await.unwrap();
        assert_eq!(output.stdout.as_ref(), b"here\n");
    }
    let [one, two] = ["one", "two"].map(|name| supervisor.service(name).unwrap());
    one.stop().await.unwrap();
    let end = stopped(&one).await;
    assert!(end.was_asked);
    assert_eq!(end.exit, Some(Exit::Signal(Signal::TERM)));
    let passed = states(&one).await;
    let expected = [
        State::Starting,
        State::Ready,
        State::Stopping,
        State::Stopped(end),
    ];
    assert_eq!(passed, expected);
    // Its name is free, and the other goes on.
    let again = supervisor.start(&specs[0]).await.unwrap();
    assert_eq!(two.state(), State::Ready);
    again.stop().await.unwrap();
    supervisor.shut_down().await.unwrap();
    assert!(stopped(&two).await.was_asked);
    world.finish();
}

#[tokio::test]
async fn what_is_found_is_left_alone_when_opening_is_called_off() {
    let world = World::new().await;
    let spec = world.spec().name("left").command(WAIT);
    Program::running(&world, "test", &[spec], &Then::Nothing).kill();
    let pid = world.client().instances().await.unwrap()[0].pid;
    let builder = || {
        let builder = world.client().supervisor("test");
        builder.runtime_dir(world.folder().join("runtime"))
    };
    for micros in [0, 100, 300, 1000, 2000, 3000, 5000, 8000, 12000, 20000] {
        let late = Duration::from_micros(micros);
        // One that is done in time is left, too.
        match tokio::time::timeout(late, builder().open()).await {
            Ok(Ok(supervisor)) => supervisor.leave().await,
            // The last one is not quite over.
            Ok(Err(error)) => assert!(
                matches!(error, InstanceError::SupervisorRuns { .. }),
                "{error}"
            ),
            Err(_) => {}
        }
    }
    let supervisor = loop {
        match builder().open().await {
            Err(InstanceError::SupervisorRuns { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            supervisor => break supervisor.unwrap(),
        }
    };
    let service = supervisor.service("left").expect("it was left");
    assert_eq!(service.pid(), pid);
    service.ready().await.unwrap();
    supervisor.shut_down().await.unwrap();
    world.finish();
}

/// One that ends with 5 when a file is there.
fn ends_later(world: &World, tag: &str) -> Spec {
    let script = "until [ -e /data/go ]; do sleep 0.01; done; exit 5";
    let folder = world.folder().join("data");
    std::fs::create_dir(&folder).unwrap();
    world
        .spec()
        .bind(folder, "/data")
        .command(["sh", "-c", script, tag])
}

fn go(folder: &Path) {
    std::fs::write(folder.join("data/go"), "").unwrap();
}

#[tokio::test]
async fn how_a_payload_ends_later_is_known() {
    let world = World::new().await;
    let spec = ends_later(&world, "later");
    Program::running(&world, "test", &[spec], &Then::Nothing).kill();
    let supervisor = opened(&world, Recovery::Reattach).await;
    let service = supervisor.services().remove(0);
    assert_eq!(service.state(), State::Ready);
    go(world.folder());
    let end = stopped(&service).await;
    assert_eq!(end.exit, Some(Exit::Code(5)));
    assert!(!end.was_asked);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn how_a_payload_ended_while_nobody_watched_is_known() {
    let world = World::new().await;
    let tag = tag();
    let spec = ends_later(&world, &tag);
    Program::running(&world, "test", &[spec], &Then::Nothing).kill();
    assert_eq!(with_word(&tag).len(), 1);
    go(world.folder());
    until("it has ended", || with_word(&tag).is_empty()).await;
    // It has had the time to be gone by itself, if it could.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let supervisor = opened(&world, Recovery::Reattach).await;
    let service = supervisor.services().remove(0);
    let end = stopped(&service).await;
    assert_eq!(end.exit, Some(Exit::Code(5)));
    assert!(!end.was_asked);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_to_be_reaped_is_gone_when_the_next_is_there() {
    let world = World::new().await;
    let tag = tag();
    let specs = ["one", "two"].map(|name| world.spec().name(name).command(["sleep", &tag]));
    Program::running(&world, "test", &specs, &Then::Nothing).kill();
    assert_eq!(with_word(&tag).len(), 2);
    let supervisor = opened(&world, Recovery::Reap).await;
    assert!(with_word(&tag).is_empty());
    assert!(supervisor.services().is_empty());
    assert!(world.client().instances().await.unwrap().is_empty());
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn reaping_takes_away_what_nobody_watches_and_no_more() {
    let world = World::new().await;
    let spec = |name: &str| world.spec().name(name).command(WAIT);
    let dead = Program::running(&world, "dead", &[spec("theirs")], &Then::Nothing);
    let living = Program::running(&world, "living", &[spec("watched")], &Then::Nothing);
    let mine = world.supervisor().await;
    let service = mine.start(&spec("mine")).await.unwrap();
    dead.kill();
    let reaped = world.client().reap().await.unwrap();
    assert_eq!(reaped, ["theirs"]);
    let left = world.client().instances().await.unwrap();
    let mut names: Vec<_> = left.iter().map(|instance| instance.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["mine", "watched"]);
    assert_eq!(service.state(), State::Ready);
    living.kill();
    assert_eq!(world.client().reap().await.unwrap(), ["watched"]);
    mine.shut_down().await.unwrap();
    assert!(world.client().reap().await.unwrap().is_empty());
    world.finish();
}

#[tokio::test]
async fn killed_at_any_moment_of_a_start_it_leaves_nothing() {
    let world = World::new().await;
    let spec = world.spec().name("one").temporary_overlay();
    let spec = [spec
        .port(apptainer::instance::Port::named("http"))
        .command(WAIT)];
    let _ = world.busybox().await;
    for (number, delay) in (0..400).step_by(20).enumerate() {
        let mut program = Program::start(&world, "test", &spec, &Then::Nothing);
        program.until_said("begun");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        program.kill();
        if number % 2 == 0 {
            let reaped = world.client().reap().await.unwrap();
            assert!(reaped.len() <= 1, "{reaped:?}");
            assert!(world.client().instances().await.unwrap().is_empty());
            continue;
        }
        let supervisor = opened(&world, Recovery::Reattach).await;
        for service in supervisor.services() {
            assert_eq!(service.state(), State::Ready, "after {delay} ms");
            let status = service.command("true").unwrap().status().await.unwrap();
            assert!(status.success());
        }
        supervisor.shut_down().await.unwrap();
        assert!(world.client().instances().await.unwrap().is_empty());
    }
    world.finish();
}

#[tokio::test]
async fn a_start_whose_apptainer_is_killed_fails_and_leaves_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world.spec().name("one").command(WAIT);
    let me = Pid::try_from(std::process::id()).unwrap();
    let mut failed = 0;
    for delay in (0..200).step_by(10) {
        let start = tokio::spawn({
            let (supervisor, spec) = (supervisor.clone(), spec.clone());
            async move { supervisor.start(&spec).await }
        });
        let mut child = None;
        // The master of one that has been stopped is a zombie of this program.
        until("apptainer is there", || {
            let mut all = Process::all().unwrap();
            all.retain(|process| process.state != Zombie);
            child = all.into_iter().find(|process| process.parent == me);
            child.is_some()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_there(child.unwrap().pid);
        match start.await.unwrap() {
            // It was done with that.
            Ok(service) => service.stop().await.unwrap(),
            Err(error) => {
                assert!(!error.is_name_taken(), "{error}");
                failed += 1;
            }
        }
        assert!(world.client().instances().await.unwrap().is_empty());
    }
    assert!(failed > 0);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_serves_its_files_may_end_at_any_moment_of_a_start() {
    let world = World::new().await;
    if world.busybox().await.rootfs() != Rootfs::Fuse {
        return world.finish();
    }
    let supervisor = world.supervisor().await;
    // Nothing that ends by itself when its files cannot be read.
    let spec = world.spec().temporary_overlay();
    let mut failed = 0;
    for delay in (0..200).step_by(10) {
        let start = tokio::spawn({
            let (supervisor, spec) = (supervisor.clone(), spec.clone());
            async move { supervisor.start(&spec).await }
        });
        let mut server = None;
        until("the image is mounted", || {
            server = process_of_mine(b"squashfuse_ll", b"-f");
            server.is_some()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_if_there(server.unwrap());
        match start.await.unwrap() {
            Ok(service) => {
                let end = tokio::time::timeout(SOON, service.ended()).await;
                assert_eq!(end, Ok(State::Lost(Lost::FileSystem)), "after {delay} ms");
            }
            Err(_) => failed += 1,
        }
    }
    assert!(failed > 0);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn the_agent_may_end_at_any_moment_of_a_start() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    for micros in (0..20_000).step_by(1000) {
        let start = tokio::spawn({
            let (supervisor, spec) = (supervisor.clone(), world.spec());
            async move { supervisor.start(&spec).await }
        });
        let mut agent = None;
        until("the agent runs", || {
            agent = process_of_mine(b"startscript", b"relay");
            agent.is_some()
        })
        .await;
        tokio::time::sleep(Duration::from_micros(micros)).await;
        kill_if_there(agent.unwrap());
        match start.await.unwrap() {
            Ok(service) => assert!(super::end(&service).await.is_final()),
            Err(error) => assert!(!error.is_name_taken(), "after {micros} us: {error}"),
        }
        assert!(world.client().instances().await.unwrap().is_empty());
    }
    drop(supervisor);
    world.finish();
}

/// A process that this program has started, at any remove.
fn process_of_mine(program: &[u8], argument: &[u8]) -> Option<Pid> {
    let me = Pid::try_from(std::process::id()).unwrap();
    let all = Process::all().unwrap();
    let parent = |pid: Pid| Some(all.iter().find(|other| other.pid == pid)?.parent);
    let is_it = |process: &&Process| {
        let words = Process::command_line(process.pid)
            .unwrap()
            .unwrap_or_default();
        let is_program = words.first().is_some_and(|first| first.ends_with(program));
        is_program && words.iter().any(|word| word.as_slice() == argument)
    };
    let is_mine = |process: &&Process| {
        std::iter::successors(Some(process.pid), |pid| parent(*pid)).any(|pid| pid == me)
    };
    let found = all.iter().filter(is_it).find(is_mine);
    found.map(|process| process.pid)
}

fn kill_if_there(pid: Pid) {
    if let Ok(pidfd) = apptainer::sys::process::PidFd::open(pid) {
        pidfd.signal(Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn what_was_paused_is_paused_still() {
    let world = World::new().await;
    let spec = world.spec().name("one").command(WAIT);
    Program::running(&world, "test", &[spec], &Then::Pause).kill();
    let supervisor = opened(&world, Recovery::Reattach).await;
    let service = supervisor.service("one").unwrap();
    assert_eq!(service.state(), State::Paused);
    service.resume().await.unwrap();
    assert_eq!(service.state(), State::Ready);
    let status = service.command("true").unwrap().status().await.unwrap();
    assert!(status.success());
    service.pause().await.unwrap();
    service.stop().await.unwrap();
    let end = stopped(&service).await;
    assert_eq!(end.exit, Some(Exit::Signal(Signal::TERM)));
    let passed = states(&service).await;
    let expected = [
        State::Starting,
        State::Paused,
        State::Ready,
        State::Paused,
        State::Stopping,
        State::Stopped(end),
    ];
    assert_eq!(passed, expected);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_was_paused_can_be_reaped() {
    let world = World::new().await;
    let spec = world.spec().name("one").command(WAIT);
    Program::running(&world, "test", &[spec], &Then::Pause).kill();
    assert_eq!(world.client().reap().await.unwrap(), ["one"]);
    world.finish();
}

#[tokio::test]
async fn what_died_while_nobody_watched_is_cleared() {
    let world = World::new().await;
    let parts: [fn(&Parts) -> Option<Pid>; 4] = [
        |parts| Some(parts.master),
        |parts| Some(parts.first),
        |parts| Some(parts.agent),
        |parts| parts.servers.first().copied(),
    ];
    // Apptainer may have waited for it by then, or not.
    for (part, delay) in parts.into_iter().flat_map(|part| [(part, 0), (part, 200)]) {
        let spec = world.spec().name("one").command(WAIT);
        let program = Program::running(&world, "test", &[spec], &Then::Nothing);
        let first = world.client().instances().await.unwrap()[0].pid;
        program.kill();
        let victim = part(&Parts::of(first));
        victim.into_iter().for_each(kill);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let supervisor = opened(&world, Recovery::Reattach).await;
        for service in supervisor.services() {
            if victim.is_some() {
                assert!(super::end(&service).await.is_final());
            }
        }
        supervisor.shut_down().await.unwrap();
        assert!(world.client().instances().await.unwrap().is_empty());
    }
    world.finish();
}

#[tokio::test]
async fn a_command_ends_with_the_program_that_ran_it() {
    let world = World::new().await;
    let tag = tag();
    let spec = world.spec().name("one").command(WAIT);
    let program = Program::running(&world, "test", &[spec], &Then::Sleep(tag.clone()));
    assert_eq!(with_word(&tag).len(), 1);
    program.kill();
    until("the command has ended", || with_word(&tag).is_empty()).await;
    let supervisor = opened(&world, Recovery::Reattach).await;
    let service = supervisor.service("one").unwrap();
    assert_eq!(service.state(), State::Ready);
    supervisor.shut_down().await.unwrap();
    world.finish();
}
