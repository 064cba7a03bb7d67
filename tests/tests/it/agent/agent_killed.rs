//! Agents that are killed.

use std::time::Duration;

use apptainer::Child;
use apptainer::exec::{ExecError, LinkError};
use apptainer::sys::process::{Pid, PidFd, Process, Signal};
use fixtures::World;

use super::processes::{SOON, agent, agents, tag, until, until_tagged};
use super::ways::Ways;

/// Three processes: the command, one with a session of its own and no parent, and one
/// that only ignores signals.
const TREE: &str =
    "(setsid sh -c '(sleep $0 &)' $0 &); (trap '' TERM HUP; sleep $0) & exec sleep $0";

fn kill(pid: Pid) {
    let pidfd = PidFd::open(pid).unwrap();
    pidfd.signal(Signal::KILL).unwrap();
    assert!(pidfd.wait_ended(Some(SOON)).unwrap(), "it ends");
}

/// The same, and waits until the `apptainer` that it ran in has ended, which holds the
/// other end of the link as long.
fn kill_and_wait(pid: Pid) {
    let parent = Process::read(pid).unwrap().unwrap().parent;
    let parent = PidFd::open(parent).unwrap();
    kill(pid);
    assert!(parent.wait_ended(Some(SOON)).unwrap(), "it ends");
}

async fn is_lost(child: &mut Child) {
    let waited = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
    let error = waited.expect("it is told soon").unwrap_err();
    assert!(error.is_lost(), "{error:?}");
    assert!(child.wait().await.unwrap_err().is_lost(), "the same again");
    assert!(child.try_wait().unwrap_err().is_lost(), "and again");
}

#[tokio::test]
async fn a_link_says_that_it_is_lost_and_nothing_of_it_runs() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let tag = tag();
    let mut children = Vec::new();
    for _ in 0..3 {
        let mut command = link.command("sh");
        children.push(command.args(["-c", TREE, &tag]).spawn().await.unwrap());
    }
    until_tagged(&tag, 9, SOON).await;
    kill(link.pid().unwrap());
    for child in &mut children {
        is_lost(child).await;
    }
    until_tagged(&tag, 0, SOON).await;
    for _ in 0..2 {
        let error = link.command("true").status().await.unwrap_err();
        assert!(error.is_lost(), "{error:?}");
        assert!(matches!(link.ping().await, Err(LinkError::Lost)));
    }
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_instance_gets_another_agent() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let tag = tag();
    let mut before = Vec::new();
    for _ in 0..3 {
        let mut child = instance
            .command("sh")
            .args(["-c", TREE, &tag])
            .spawn()
            .await
            .unwrap();
        until_tagged(&tag, 3, SOON).await;
        let agent = agent();
        assert!(!before.contains(&agent));
        before.push(agent);
        kill(agent);
        is_lost(&mut child).await;
        until_tagged(&tag, 0, SOON).await;
        let output = instance.command("echo").arg("again").output().await;
        assert_eq!(output.unwrap().stdout, "again\n");
    }
    assert!(instance.is_running().unwrap());
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_instance_whose_agent_died_unnoticed_gets_another() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    assert!(instance.command("true").status().await.unwrap().success());
    for _ in 0..3 {
        kill_and_wait(agent());
        // Nobody waits for anything of it: that it is gone is met by asking it.
        let output = instance.command("echo").arg("again").output().await;
        assert_eq!(output.unwrap().stdout, "again\n");
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn nothing_runs_on_though_nobody_waits() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    let mut children = Vec::new();
    for (_, mut command) in ways.commands("sh") {
        children.push(command.args(["-c", TREE, &tag]).spawn().await.unwrap());
    }
    until_tagged(&tag, 6, SOON).await;
    agents().into_iter().for_each(kill);
    until("no agent is there", SOON, || agents().is_empty()).await;
    // Dropped, and never asked about.
    drop(children);
    drop(ways.link);
    until_tagged(&tag, 0, Duration::from_secs(2)).await;
    ways.instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_halted_agent_holds_nobody_who_has_a_deadline() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let agent = PidFd::open(link.pid().unwrap()).unwrap();
    agent.signal(Signal::STOP).unwrap();
    let limit = Duration::from_millis(300);
    for _ in 0..3 {
        let mut command = link.command("true");
        let asked = tokio::time::timeout(limit, command.status()).await;
        assert!(asked.is_err(), "{asked:?}");
        let asked = tokio::time::timeout(limit, link.ping()).await;
        assert!(asked.is_err(), "{asked:?}");
    }
    // What was given up is not made up for.
    agent.signal(Signal::CONT).unwrap();
    link.ping().await.unwrap();
    assert!(link.command("true").status().await.unwrap().success());
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_agent_that_dies_while_a_command_starts_is_told() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    for _ in 0..10 {
        assert!(instance.command("true").status().await.unwrap().success());
        let pid = agent();
        let kill_soon = async {
            tokio::time::sleep(Duration::from_micros(300)).await;
            kill_and_wait(pid);
        };
        let mut command = instance.command("sh");
        command.args(["-c", "exit 3"]);
        let (status, ()) = tokio::join!(command.status(), kill_soon);
        match status {
            Ok(status) => assert_eq!(status.code(), Some(3)),
            Err(ExecError::Link(LinkError::Lost)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    instance.stop().await.unwrap();
    world.finish();
}
