//! Many commands at once.

use apptainer::Stdio;
use fixtures::World;

use super::processes::{SOON, descriptors, tag, until, until_tagged};

#[tokio::test]
async fn two_hundred_at_once_do_not_mix() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let pid = link.pid().unwrap();
    let before = descriptors(pid).len();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..200_u32 {
        let link = link.clone();
        running.spawn(async move {
            let script = "cat; echo $0 >&2; exit $(($0 % 100))";
            let mut command = link.command("sh");
            command.args(["-c", script, &number.to_string()]);
            command.stdin(Stdio::null());
            let output = command.output().await.unwrap();
            assert_eq!(output.stderr, format!("{number}\n").as_bytes());
            assert_eq!(
                output.status.code(),
                Some(i32::try_from(number % 100).unwrap())
            );
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    until("it has closed", SOON, || descriptors(pid).len() == before).await;
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn two_hundred_are_held_and_dropped_together() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let tag = tag();
    let mut children = Vec::new();
    for _ in 0..200 {
        let mut command = link.command("sleep");
        children.push(command.arg(&tag).spawn().await.unwrap());
    }
    until_tagged(&tag, 200, SOON).await;
    assert_eq!(link.commands().await.unwrap().len(), 200);
    drop(children);
    until_tagged(&tag, 0, SOON).await;
    link.ping().await.unwrap();
    link.close().await.unwrap();
    world.finish();
}
