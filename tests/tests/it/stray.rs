//! What a command starts and lets go of: in a session of its own, without a parent, and
//! with its environment cleared on the way.

use std::time::{Duration, Instant};

use apptainer::Stdio;
use apptainer::exec::Child;
use apptainer::sys::process::{PidFd, Process, Signal, State};
use apptainer::{Command, Link};
use fixtures::World;

/// Says when it has started such a process, and sleeps.
const STRAY: &str = "env -i setsid /bin/sh -c '/bin/sleep '$0' & echo started'; exec sleep 1000";

/// How long the stray process sleeps: no other does for so long.
fn seconds() -> String {
    format!("7{}", std::process::id())
}

fn is_there(seconds: &str) -> bool {
    let sleeps = |process: &Process| {
        let words = Process::command_line(process.pid).unwrap();
        process.state != State::Zombie
            && words.is_some_and(|words| words.iter().any(|word| word == seconds.as_bytes()))
            && process.name == "sleep"
    };
    Process::all().unwrap().iter().any(sleeps)
}

async fn until(is_wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_there(&seconds()) != is_wanted {
        assert!(Instant::now() < deadline, "it is there: {}", !is_wanted);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn start(mut command: Command) -> Child {
    command
        .args(["-c", STRAY, &seconds()])
        .stdout(Stdio::piped());
    let mut child = command.spawn().await.unwrap();
    let chunk = child.stream().unwrap().next().await.unwrap().unwrap();
    assert_eq!(&chunk.bytes[..], b"started\n");
    // It may not have become its program yet.
    until(true).await;
    child
}

async fn link(world: &World) -> Link {
    world.container().await.link().await.unwrap()
}

#[tokio::test]
async fn it_is_killed_with_its_command() {
    let world = World::new().await;
    let link = link(&world).await;
    let mut child = start(link.command("sh")).await;
    child.kill().await.unwrap();
    assert!(!is_there(&seconds()));
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_is_left_to_others_commands() {
    let world = World::new().await;
    let link = link(&world).await;
    let child = start(link.command("sh")).await;
    let mut other = link.command("sleep").arg("1000").spawn().await.unwrap();
    other.kill().await.unwrap();
    assert!(is_there(&seconds()));
    drop(child);
    until(false).await;
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_is_killed_when_the_agent_is() {
    let world = World::new().await;
    let link = link(&world).await;
    let mut child = start(link.command("sh")).await;
    let agent = PidFd::open(link.pid().unwrap()).unwrap();
    agent.signal(Signal::KILL).unwrap();
    assert!(child.wait().await.unwrap_err().is_lost());
    until(false).await;
    drop((child, link));
    world.finish();
}
