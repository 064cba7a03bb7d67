//! Agents in a container whose file system does not answer: commands hang on their way to
//! their programs.

use apptainer::Link;
use apptainer::sys::process::{Pid, Process};
use fixtures::{Frozen, World};
use tokio::task::JoinSet;

use super::processes::{SOON, is_idle, until};
use super::ways::detached;

/// How many hang before others have to wait.
const SLOTS: usize = 32;

/// A program that no command has asked the file system for yet.
const UNKNOWN: &str = "/bin/uname";

fn children_of(pid: Pid) -> usize {
    let table = Process::all().unwrap();
    table.iter().filter(|process| process.parent == pid).count()
}

/// Asks for more commands than can be on their way at a time.
async fn hang(link: &Link, agent: Pid) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for _ in 0..SLOTS + 8 {
        let mut command = link.command(UNKNOWN);
        command.kill_on_drop(false);
        asking.spawn(async move {
            assert!(command.status().await.unwrap().success());
        });
    }
    until("all that can hang do", 5 * SOON, || {
        children_of(agent) == SLOTS
    })
    .await;
    asking
}

#[tokio::test]
async fn one_that_has_all_commands_hang_is_idle() {
    let world = World::new().await;
    if !world.serves_images().await {
        return;
    }
    let link = world.container().await.link().await.unwrap();
    let agent = link.pid().unwrap();
    let frozen = Frozen::all();
    let mut asking = hang(&link, agent).await;
    assert!(is_idle(agent).await);
    drop(frozen);
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn its_link_may_end_and_another_be_made() {
    let world = World::new().await;
    if !world.serves_images().await {
        return;
    }
    let (link, socket) = detached(&world).await;
    let agent = link.pid().unwrap();
    let frozen = Frozen::all();
    drop(hang(&link, agent).await);
    drop(link);
    assert!(is_idle(agent).await);
    let link = Link::attach(&socket).await.unwrap();
    link.ping().await.unwrap();
    assert!(link.commands().await.unwrap().len() >= SLOTS);
    drop(frozen);
    until("all have ended", 5 * SOON, || children_of(agent) == 0).await;
    let ran = link.command(UNKNOWN).status().await.unwrap();
    assert!(ran.success());
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_ends_with_its_link_and_all_that_hangs_with_it() {
    let world = World::new().await;
    if !world.serves_images().await {
        return;
    }
    let link = world.container().await.link().await.unwrap();
    let agent = link.pid().unwrap();
    let frozen = Frozen::all();
    drop(hang(&link, agent).await);
    drop(link);
    let has_ended = || Process::read(agent).unwrap().is_none();
    until("the agent has ended", 5 * SOON, has_ended).await;
    drop(frozen);
    world.finish();
}
