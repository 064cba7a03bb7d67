//! Links and instances that end under their commands.

use std::time::Duration;

use apptainer::Child;
use apptainer::exec::LinkError;
use fixtures::World;

use super::processes::{SOON, agents, tag, tagged, until, until_tagged};

/// A command, one with a session of its own and no parent, and one that ignores signals.
const TREE: &str =
    "(setsid sh -c '(sleep $0 &)' $0 &); (trap '' TERM HUP; sleep $0) & exec sleep $0";

async fn is_lost(child: &mut Child) {
    let waited = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
    let error = waited.expect("it is told soon").unwrap_err();
    assert!(error.is_lost(), "{error:?}");
}

#[tokio::test]
async fn an_instance_that_is_stopped_takes_its_commands_along_and_they_say_so() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let tag = tag();
    let mut command = instance.command("sh");
    let mut child = command.args(["-c", TREE, &tag]).spawn().await.unwrap();
    let mut collecting = instance.command("sh");
    let collecting = collecting.args(["-c", TREE, &tag]).spawn().await.unwrap();
    let collecting = tokio::spawn(collecting.wait_with_output());
    until_tagged(&tag, 6, SOON).await;
    instance
        .stop_within(Duration::from_millis(300))
        .await
        .unwrap();
    assert_eq!(tagged(&tag), 0);
    is_lost(&mut child).await;
    assert!(collecting.await.unwrap().unwrap_err().is_lost());
    // What was left over from it says the same.
    let error = command.spawn().await.unwrap_err();
    assert!(error.kind().is_some() || error.is_lost(), "{error:?}");
    child.kill().await.unwrap_err();
    drop(child);
    world.finish();
}

#[tokio::test]
async fn an_instance_that_is_dropped_takes_its_commands_along() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let tag = tag();
    let mut command = instance.command("sh");
    let mut child = command.args(["-c", TREE, &tag]).spawn().await.unwrap();
    until_tagged(&tag, 3, SOON).await;
    drop(instance);
    is_lost(&mut child).await;
    until_tagged(&tag, 0, SOON).await;
    drop((child, command));
    world.finish();
}

#[tokio::test]
async fn a_link_that_is_closed_takes_its_commands_along_and_they_say_so() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let tag = tag();
    let mut command = link.command("sh");
    let mut child = command.args(["-c", TREE, &tag]).spawn().await.unwrap();
    let other = link.clone();
    until_tagged(&tag, 3, SOON).await;
    link.close().await.unwrap();
    assert_eq!(tagged(&tag), 0);
    assert!(agents().is_empty());
    is_lost(&mut child).await;
    assert!(command.spawn().await.unwrap_err().is_lost());
    assert!(matches!(other.ping().await, Err(LinkError::Lost)));
    other.close().await.expect("a second time is no error");
    drop((child, command));
    world.finish();
}

#[tokio::test]
async fn a_link_that_is_dropped_lasts_as_long_as_its_commands() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let tag = tag();
    let child = link
        .command("sh")
        .args(["-c", TREE, &tag])
        .spawn()
        .await
        .unwrap();
    let mut short = link
        .command("sh")
        .args(["-c", "sleep 0.5; exit 5"])
        .spawn()
        .await
        .unwrap();
    until_tagged(&tag, 3, SOON).await;
    drop(link);
    assert_eq!(short.wait().await.unwrap().code(), Some(5));
    drop(short);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tagged(&tag), 3, "it goes on");
    drop(child);
    until_tagged(&tag, 0, SOON).await;
    until("no agent is there", SOON, || agents().is_empty()).await;
    world.finish();
}

#[tokio::test]
async fn what_is_let_go_lasts_as_long_as_its_link() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let tag = tag();
    let mut command = link.command("sh");
    command.args(["-c", TREE, &tag]).kill_on_drop(false);
    drop(command.spawn().await.unwrap());
    // Let go while it is being waited for, too.
    let cut = tokio::time::timeout(Duration::from_millis(300), command.status()).await;
    assert!(cut.is_err(), "{cut:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tagged(&tag), 6, "they go on");
    assert!(link.command("true").status().await.unwrap().success());
    assert_eq!(tagged(&tag), 6);
    drop((command, link));
    until_tagged(&tag, 0, SOON).await;
    world.finish();
}

#[tokio::test]
async fn what_has_been_let_go_and_ends_is_reaped() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    for _ in 0..50 {
        let mut command = link.command("true");
        drop(command.kill_on_drop(false).spawn().await.unwrap());
    }
    let agent = link.pid().unwrap();
    until("nothing is below the agent", SOON, || {
        let table = apptainer::sys::process::Process::all().unwrap();
        table.iter().all(|process| process.parent != agent)
    })
    .await;
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_link_that_is_being_closed_and_given_up_ends_all_the_same() {
    let world = World::new().await;
    let container = world.container().await;
    let tag = tag();
    for moment in [0, 1, 2, 5, 20] {
        let link = container.link().await.unwrap();
        let mut command = link.command("sh");
        let child = command.args(["-c", TREE, &tag]).spawn().await.unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(moment), link.close()).await;
        drop((command, child));
    }
    until_tagged(&tag, 0, SOON).await;
    world.finish();
}

#[tokio::test]
async fn an_agent_that_is_ended_while_commands_start_ends() {
    let world = World::new().await;
    let container = world.container().await;
    for _ in 0..20 {
        let link = container.link().await.unwrap();
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let link = link.clone();
            starting.spawn(async move { link.command("true").output().await });
        }
        // Some have been asked for, and have not become their programs.
        tokio::task::yield_now().await;
        let closed = tokio::time::timeout(Duration::from_secs(20), link.close()).await;
        closed.expect("it ends").unwrap();
        starting.shutdown().await;
    }
    world.finish();
}
