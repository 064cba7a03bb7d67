//! Callers that are killed, which can do nothing about what they have started.
//!
//! They are processes of their own: this program again, with what they are to do in their
//! environment.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use apptainer::sys::process::{PidFd, Signal};
use apptainer::{Apptainer, Container, Stdio};
use fixtures::World;

use super::processes::{SOON, agent, agents, tag, tagged, until, until_tagged};

/// What a caller is to do, and with what.
const ROLE: &str = "APPTAINER_TESTS_CALLER";
const TAG: &str = "APPTAINER_TESTS_TAG";
const FOLDER: &str = "APPTAINER_TESTS_FOLDER";

/// A command with children that have sessions of their own and have lost their parents.
const TREE: &str =
    "(setsid sh -c '(sleep $0 &)' $0 &); (trap '' TERM HUP; sleep $0) & exec sleep $0";

/// Two processes that write without end, and do not mind that nobody reads it.
const STREAM: &str = "trap '' PIPE; (while :; do echo $0; done) & while :; do echo $0; done";

/// A caller, which says when it has begun.
pub(super) struct Caller {
    process: std::process::Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Caller {
    pub(super) fn start(world: &World, role: &str, tag: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "agent::caller_killed::caller",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(ROLE, role)
            .env(TAG, tag)
            .env(FOLDER, world.folder())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        Self {
            process,
            said: BufReader::new(stdout).lines(),
        }
    }

    /// Waits until it has said this.
    pub(super) fn until_said(&mut self, wanted: &str) {
        for line in self.said.by_ref() {
            // The test harness writes before it, without ending its line.
            if line.unwrap().ends_with(wanted) {
                return;
            }
        }
        panic!("it ended without saying {wanted:?}");
    }

    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Not a test: what is killed by those below.
#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn caller() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let folder = std::path::PathBuf::from(env::var_os(FOLDER).unwrap());
    let builder = Apptainer::builder()
        .config_dir(folder.join("config"))
        .store_dir(folder.join("store"));
    let client = builder.build().await.unwrap();
    let container = client
        .image(fixtures::busybox_sif())
        .await
        .unwrap()
        .container();
    let container = if nix::unistd::geteuid().is_root() {
        container.no_privileges()
    } else {
        container
    };
    play(&role, &container, &env::var(TAG).unwrap()).await;
    std::future::pending::<()>().await;
}

async fn play(role: &str, container: &Container, tag: &str) {
    println!("begun");
    match role {
        "link" => {
            let _link = container.link().await.unwrap();
            std::future::pending::<()>().await;
        }
        "start" => {
            let link = container.link().await.unwrap();
            println!("linked");
            let mut children = Vec::new();
            for _ in 0..200 {
                let mut command = link.command("sh");
                children.push(command.args(["-c", TREE, tag]).spawn().await.unwrap());
            }
            std::future::pending::<()>().await;
        }
        "run" => {
            let link = container.link().await.unwrap();
            let mut command = link.command("sh");
            let _child = command.args(["-c", TREE, tag]).spawn().await.unwrap();
            // Let go, it ends with its link all the same.
            let mut command = link.command("sh");
            command.args(["-c", TREE, tag]).kill_on_drop(false);
            drop(command.spawn().await.unwrap());
            println!("running");
            std::future::pending::<()>().await;
        }
        "single" => {
            let link = container.link().await.unwrap();
            let _child = link.command("sleep").arg(tag).spawn().await.unwrap();
            println!("running");
            std::future::pending::<()>().await;
        }
        "stream" => {
            let link = container.link().await.unwrap();
            let mut command = link.command("sh");
            command.args(["-c", STREAM, tag]).stdout(Stdio::piped());
            let mut child = command.spawn().await.unwrap();
            let mut stream = child.stream().unwrap();
            let _ = stream.next().await.unwrap().unwrap();
            println!("running");
            while stream.next().await.is_some() {}
        }
        "instance" => {
            let instance = container.start().await.unwrap();
            let mut command = instance.command("sh");
            let _child = command.args(["-c", TREE, tag]).spawn().await.unwrap();
            println!("running");
            std::future::pending::<()>().await;
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn killed_before_its_link_is_up_it_leaves_nothing() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    for delay in (0..500).step_by(25) {
        let mut caller = Caller::start(&world, "link", &tag);
        caller.until_said("begun");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        caller.kill();
    }
    until("no agent is there", SOON, || agents().is_empty()).await;
    world.finish();
}

#[tokio::test]
async fn killed_while_commands_start_it_leaves_nothing() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    for delay in [0, 1, 2, 5, 10, 20, 50, 100, 300] {
        let mut caller = Caller::start(&world, "start", &tag);
        caller.until_said("linked");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        caller.kill();
        until("nothing of it runs", SOON, || {
            tagged(&tag) == 0 && agents().is_empty()
        })
        .await;
        // Nor is anything started after that.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(tagged(&tag), 0, "{delay}");
    }
    world.finish();
}

#[tokio::test]
async fn killed_while_commands_run_it_leaves_nothing() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    let mut caller = Caller::start(&world, "run", &tag);
    caller.until_said("running");
    until_tagged(&tag, 6, SOON).await;
    caller.kill();
    until_tagged(&tag, 0, SOON).await;
    until("no agent is there", SOON, || agents().is_empty()).await;
    world.finish();
}

#[tokio::test]
async fn killed_while_it_reads_it_leaves_nothing() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    for _ in 0..5 {
        let mut caller = Caller::start(&world, "stream", &tag);
        caller.until_said("running");
        until_tagged(&tag, 2, SOON).await;
        caller.kill();
        until_tagged(&tag, 0, SOON).await;
        until("no agent is there", SOON, || agents().is_empty()).await;
    }
    world.finish();
}

/// Then there is nobody left to kill the command: the kernel does it.
#[tokio::test]
async fn killed_with_its_agent_it_leaves_no_command() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    let mut caller = Caller::start(&world, "single", &tag);
    caller.until_said("running");
    until_tagged(&tag, 1, SOON).await;
    let agent = PidFd::open(agent()).unwrap();
    // Halted, it does not learn that its caller is gone.
    agent.signal(Signal::STOP).unwrap();
    caller.kill();
    agent.signal(Signal::KILL).unwrap();
    assert!(agent.wait_ended(Some(SOON)).unwrap(), "it ends");
    until_tagged(&tag, 0, SOON).await;
    world.finish();
}

#[tokio::test]
async fn killed_it_leaves_its_instance_and_no_command_in_it() {
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    let mut caller = Caller::start(&world, "instance", &tag);
    caller.until_said("running");
    until_tagged(&tag, 3, SOON).await;
    caller.kill();
    until_tagged(&tag, 0, SOON).await;
    until("no agent is there", SOON, || agents().is_empty()).await;
    let instances = world.client().instances().await.unwrap();
    assert_eq!(instances.len(), 1, "it goes on");
    let pidfd = PidFd::open(instances[0].pid).unwrap();
    pidfd.signal(Signal::KILL).unwrap();
    world.finish();
}
