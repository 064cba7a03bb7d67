//! Links that outlive their programs, and are found again; and links to instances that
//! others have started.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use apptainer::exec::{ExecError, LinkError, OnDisconnect};
use apptainer::sys::exit::FailureKind;
use apptainer::sys::process::{PidFd, Signal};
use apptainer::{Apptainer, Container, Link};
use fixtures::World;

/// Where a test's link is found.
fn socket(folder: &Path) -> PathBuf {
    folder.join("links/one")
}

async fn detached(container: &Container, folder: &Path) -> Link {
    let on_disconnect = OnDisconnect::Detach(socket(folder));
    let link = container.link().on_disconnect(on_disconnect).await;
    link.unwrap()
}

/// A script that waits for a file, and then says so and exits with 7.
const WAIT: &str = "until [ -e $0 ]; do sleep 0.02; done; echo went; exit 7";

/// Starts [`WAIT`] so that it does not need us.
async fn start_waiting(link: &Link, go: &Path, log: &Path) -> apptainer::Child {
    let mut command = link.command("sh");
    command.args(["-c", WAIT]).arg(go).kill_on_drop(false);
    command.stdout(File::create(log).unwrap());
    command.spawn().await.unwrap()
}

fn lost_to_another(error: &ExecError) -> bool {
    matches!(error, ExecError::Link(LinkError::CommandHeld { .. }))
}

fn is_unknown(error: &ExecError) -> bool {
    matches!(error, ExecError::Link(LinkError::NoSuchCommand { .. }))
}

const FOLDER: &str = "APPTAINER_TESTS_FOLDER";

/// Not a test: the program that is killed by the test below.
#[tokio::test]
#[ignore = "run by a test, as a process to kill"]
async fn caller() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let builder = Apptainer::builder().config_dir(folder.join("config"));
    let client = builder.store_dir(folder.join("store")).build().await;
    let image = client.unwrap().image(fixtures::busybox_sif()).await;
    let mut container = image.unwrap().container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let link = detached(&container, &folder).await;
    let child = start_waiting(&link, &folder.join("go"), &folder.join("log")).await;
    println!("number {}", child.number().unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_command_goes_on_when_its_program_is_killed() {
    let world = World::new().await;
    let folder = world.folder();
    let mut caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["detach::caller", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let mut numbers = lines.filter_map(|line| {
        let line = line.unwrap();
        // The test harness writes before it, without ending its line.
        let (_, number) = line.split_once("number ")?;
        number.parse::<u64>().ok()
    });
    let number = numbers.next().unwrap();
    caller.kill().unwrap();
    caller.wait().unwrap();

    let link = Link::attach(socket(folder)).await.unwrap();
    let commands = link.commands().await.unwrap();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert_eq!(commands[0].number, number);
    let mut child = link.reattach(number).await.unwrap();
    assert_eq!(child.id(), commands[0].pid);
    assert_eq!(child.try_wait().unwrap(), None);
    fs::write(folder.join("go"), "").unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    assert_eq!(fs::read(folder.join("log")).unwrap(), b"went\n");

    link.close().await.unwrap();
    assert!(!socket(folder).exists());
    world.finish();
}

#[tokio::test]
async fn two_programs_use_one_link() {
    let world = World::new().await;
    let folder = world.folder();
    let one = detached(&world.container().await, folder).await;
    let other = Link::attach(socket(folder)).await.unwrap();
    assert_eq!(one.pid(), other.pid());

    let (mut first, mut second) = (one.command("echo"), other.command("echo"));
    let (first, second) = tokio::join!(first.arg("one").output(), second.arg("other").output());
    assert_eq!(&first.unwrap().stdout[..], b"one\n");
    assert_eq!(&second.unwrap().stdout[..], b"other\n");

    let (go, log) = (folder.join("go"), folder.join("log"));
    let child = start_waiting(&one, &go, &log).await;
    let number = child.number().unwrap();
    assert!(lost_to_another(&other.reattach(number).await.unwrap_err()));
    drop(child);
    drop(one);
    let mut child = other.reattach(number).await.unwrap();
    fs::write(&go, "").unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    drop(child);

    other.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_program_too_many_is_told_so() {
    let world = World::new().await;
    let folder = world.folder();
    let first = detached(&world.container().await, folder).await;
    let mut links = Vec::new();
    let error = loop {
        match Link::attach(socket(folder)).await {
            Ok(link) => links.push(link),
            Err(error) => break error,
        }
        assert!(links.len() < 1000, "there is room for all");
    };
    assert!(matches!(error, LinkError::Full { .. }), "{error}");
    assert_eq!(links.len(), 255);
    links.pop().unwrap().ping().await.unwrap();
    // There is room again, once the agent has noticed.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = Link::attach(socket(folder)).await {
        assert!(matches!(error, LinkError::Full { .. }), "{error}");
        assert!(Instant::now() < deadline, "it has not noticed");
    }
    drop(links);
    first.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_end_that_nobody_has_heard_of_is_remembered() {
    let world = World::new().await;
    let folder = world.folder();
    let link = detached(&world.container().await, folder).await;
    let (go, log) = (folder.join("go"), folder.join("log"));
    let number = start_waiting(&link, &go, &log).await.number().unwrap();
    drop(link);
    fs::write(&go, "").unwrap();

    let link = Link::attach(socket(folder)).await.unwrap();
    // It has ended once it has no pid any more.
    let deadline = Instant::now() + Duration::from_secs(20);
    while link.commands().await.unwrap()[0].pid.is_some() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut child = link.reattach(number).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    drop(child);
    assert!(is_unknown(&link.reattach(number).await.unwrap_err()));
    assert!(is_unknown(&link.reattach(999).await.unwrap_err()));
    assert_eq!(link.commands().await.unwrap(), []);

    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_that_is_dropped_is_killed_unless_it_is_let_go() {
    let world = World::new().await;
    let folder = world.folder();
    let link = detached(&world.container().await, folder).await;
    let mut held = link.command("sleep");
    let child = held.arg("1000").spawn().await.unwrap();
    let number = child.number().unwrap();
    drop(child);
    let mut child = link.reattach(number).await.unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL));
    drop(child);

    // Also where nobody has waited for its start.
    let output = held.output();
    let output = tokio::time::timeout(Duration::from_millis(50), output).await;
    output.unwrap_err();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let commands = link.commands().await.unwrap();
        if commands.iter().all(|command| command.pid.is_none()) {
            break;
        }
        assert!(Instant::now() < deadline, "{commands:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_command_that_was_found_again_is_signalled_and_killed() {
    let world = World::new().await;
    let folder = world.folder();
    let container = world.container().await;
    let link = detached(&container, folder).await;
    let mut command = link.command("sleep");
    command.arg("1000").kill_on_drop(false);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let child = command.spawn().await.unwrap();
        numbers.push(child.number().unwrap());
    }
    drop(link);

    let link = Link::attach(socket(folder)).await.unwrap();
    let mut terminated = link.reattach(numbers[0]).await.unwrap();
    let mut killed = link.reattach(numbers[1]).await.unwrap();
    terminated.signal(Signal::TERM).unwrap();
    assert_eq!(
        terminated.wait().await.unwrap().signal(),
        Some(Signal::TERM)
    );
    killed.kill().await.unwrap();
    assert_eq!(killed.wait().await.unwrap().signal(), Some(Signal::KILL));

    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_path_leads_to_one_agent_and_a_stale_socket_is_replaced() {
    let world = World::new().await;
    let folder = world.folder();
    let container = world.container().await;
    let nobody = Link::attach(socket(folder)).await.unwrap_err();
    assert!(
        matches!(nobody, LinkError::Io { .. } | LinkError::NotThere { .. }),
        "{nobody}"
    );

    let link = detached(&container, folder).await;
    let again = container
        .link()
        .on_disconnect(OnDisconnect::Detach(socket(folder)));
    let in_use = again.await.unwrap_err();
    assert!(
        matches!(in_use, ExecError::Link(LinkError::InUse { .. })),
        "{in_use}"
    );

    // Its commands would go on, but not without their agent.
    let mut command = link.command("sh");
    command.args(["-c", "setsid sleep 1000 & sleep 1000"]);
    let mut child = command.kill_on_drop(false).spawn().await.unwrap();
    let agent = PidFd::open(link.pid().unwrap()).unwrap();
    agent.signal(Signal::KILL).unwrap();
    assert!(child.wait().await.unwrap_err().is_lost());
    assert!(matches!(link.ping().await, Err(LinkError::Lost)));
    drop((child, link));
    let stale = Link::attach(socket(folder)).await.unwrap_err();
    assert!(matches!(stale, LinkError::NotThere { .. }), "{stale}");

    let link = detached(&container, folder).await;
    assert!(link.command("true").status().await.unwrap().success());
    link.close().await.unwrap();
    assert!(fs::read_dir(folder.join("links")).unwrap().next().is_none());
    world.finish();
}

#[tokio::test]
async fn a_link_that_cannot_be_made_leaves_nothing() {
    let world = World::new().await;
    let folder = world.folder();
    let nowhere = Link::attach(folder.join("no/such")).await.unwrap_err();
    assert!(matches!(nowhere, LinkError::NotThere { .. }), "{nowhere}");
    let container = world.container().await.current_dir("/no/such/directory");
    let link = container
        .link()
        .on_disconnect(OnDisconnect::Detach(socket(folder)));
    let error = link.await.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::WorkingDirectory), "{error}");
    assert!(fs::read_dir(folder.join("links")).unwrap().next().is_none());

    let open = folder.join("open");
    fs::create_dir(&open).unwrap();
    let container = world.container().await;
    let link = container
        .link()
        .on_disconnect(OnDisconnect::Detach(open.join("one")));
    let error = link.await.unwrap_err();
    assert!(
        matches!(error, ExecError::Link(LinkError::NotPrivate { .. })),
        "{error}"
    );
    world.finish();
}

#[tokio::test]
async fn a_link_leads_to_an_instance_that_another_program_started() {
    let world = World::new().await;
    let instance = world.container().await.start_as("others").await.unwrap();
    let missing = world.client().link_instance("missing").await.unwrap_err();
    assert_eq!(
        missing.kind(),
        Some(FailureKind::InstanceNotFound),
        "{missing}"
    );

    let is_root = nix::unistd::geteuid().is_root();
    let link = world.client().link_instance("others").flags(|flags| {
        flags.no_privs(is_root);
    });
    let link = link.await.unwrap();
    let namespace = |output: apptainer::Output| output.stdout.to_vec();
    let mut by_link = link.command("readlink");
    let mut by_instance = instance.command("readlink");
    let by_link = by_link.arg("/proc/self/ns/mnt").output().await.unwrap();
    let by_instance = by_instance.arg("/proc/self/ns/mnt").output().await.unwrap();
    assert_eq!(namespace(by_link), namespace(by_instance));
    link.close().await.unwrap();
    assert!(instance.is_running().unwrap());

    let own = instance.link().await.unwrap();
    assert!(own.command("true").status().await.unwrap().success());
    instance.stop().await.unwrap();
    let lost = own.command("true").status().await.unwrap_err();
    assert!(lost.is_lost(), "{lost}");
    drop(own);
    world.finish();
}
