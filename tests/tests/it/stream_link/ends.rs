//! How links, and commands on them, come to their end.

use apptainer::exec::{ExecError, LinkError};
use fixtures::World;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Far, GUARD, ended, piped, sh, sleeping, until_sleeping};

#[tokio::test]
async fn a_dropped_command_is_killed_whoever_reads_what_it_writes() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "echo out; sleep 4712; :");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    until_sleeping("4712", 1).await;
    drop(child);
    until_sleeping("4712", 0).await;
    let mut text = String::new();
    let read = timeout(GUARD, stdout.read_to_string(&mut text)).await;
    read.expect("it ends").unwrap();
    assert_eq!(text, "out\n");

    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    until_sleeping("4712", 1).await;
    drop(child);
    until_sleeping("4712", 0).await;
    let collected = async { while stream.next().await.is_some() {} };
    timeout(GUARD, collected).await.expect("it ends");
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn goodbye_ends_what_runs_and_tells_it() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let clone = link.clone();
    let mut command = sh(&link, "setsid sleep 4714 & echo ready; wait");
    let mut child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4714", 1).await;
    timeout(GUARD, link.close())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(sleeping("4714"), 0);
    assert!(child.wait().await.unwrap_err().is_lost());
    assert!(clone.command("true").output().await.unwrap_err().is_lost());
    assert!(matches!(clone.ping().await.unwrap_err(), LinkError::Lost));
    assert!(ended(&mut carrier).await.success());
    clone.close().await.unwrap();
    drop((child, command, carrier));
    world.finish();
}

#[tokio::test]
async fn a_stream_that_is_cut_leaves_nothing_running() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let mut command = sh(&link, "setsid sleep 4715 & cat /dev/zero; wait");
    let child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4715", 1).await;
    // The pipes are closed; what carries them is told nothing.
    drop((link, command));
    drop(child);
    ended(&mut carrier).await;
    assert_eq!(sleeping("4715"), 0);
    drop(carrier);
    world.finish();
}

#[tokio::test]
async fn an_agent_that_is_gone_is_a_lost_link() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let mut reading = sh(&link, "cat /dev/zero");
    let mut child = piped(&mut reading).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1]).await.unwrap();
    let mut waiting = sh(&link, "sleep 4716; :");
    let output = waiting.output();
    let kill = async {
        until_sleeping("4716", 1).await;
        carrier.kill().await.unwrap();
    };
    let both = async { tokio::join!(output, kill) };
    let (output, ()) = timeout(GUARD, both).await.expect("it is noticed");
    let error = output.unwrap_err();
    assert!(matches!(error, ExecError::Link(LinkError::Lost)), "{error}");
    let read = timeout(GUARD, stdout.read_to_end(&mut Vec::new())).await;
    let error = read.expect("it is noticed").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = child.wait().await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_eq!(sleeping("4716"), 0);
    assert!(link.command("true").output().await.unwrap_err().is_lost());
    drop((child, reading, waiting, link, carrier));
    world.finish();
}
