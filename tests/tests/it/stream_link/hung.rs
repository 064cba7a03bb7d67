//! Commands that hang on their way to their programs, and others meanwhile.

use std::fs;
use std::time::Duration;

use fixtures::{Frozen, World, busybox_program};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{Far, ended, piped};

#[tokio::test]
async fn one_that_hangs_holds_no_others_input() {
    let world = World::new().await;
    if !world.serves_images().await {
        return;
    }
    let far = Far::of(&world).await;
    // Not on the container's file system, which is to hang.
    let busybox = world.folder().join("busybox");
    fs::copy(busybox_program(), &busybox).unwrap();
    let mut cat = far.link.command(&busybox);
    let mut cat = piped(cat.arg("cat")).spawn().await.unwrap();
    let frozen = Frozen::all();
    let mut hanging = far.link.command("/bin/uname");
    let hanging = tokio::spawn(async move { hanging.output().await });
    let mut input = cat.stdin.take().unwrap();
    input.write_all(b"some").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!hanging.is_finished(), "it does not hang");
    drop(input);
    let output = timeout(Duration::from_secs(10), cat.wait_with_output()).await;
    assert_eq!(output.expect("it ends").unwrap().stdout, "some");
    drop(frozen);
    assert!(hanging.await.unwrap().unwrap().status.success());
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn more_than_can_hang_at_a_time_end_with_the_stream() {
    let world = World::new().await;
    if !world.serves_images().await {
        return;
    }
    let mut far = Far::of(&world).await;
    let frozen = Frozen::all();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut command = far.link.command("/bin/uname");
        asking.spawn(async move { command.output().await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(asking.try_join_next().is_none(), "it does not hang");
    drop(asking);
    drop(far.link);
    assert!(ended(&mut far.carrier).await.success());
    drop(frozen);
    drop(far.carrier);
    world.finish();
}
