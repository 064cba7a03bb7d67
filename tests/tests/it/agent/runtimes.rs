//! Runtimes that come and go, and links that are used from several.

use std::thread;

use apptainer::{Link, Stdio};
use fixtures::World;
use tokio::runtime::{Builder, Runtime};

use super::processes::{SOON, tag, tagged, until, until_tagged};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn echo(link: &Link, word: &str) {
    let output = link.command("echo").arg(word).output().await.unwrap();
    assert_eq!(output.stdout, format!("{word}\n").as_bytes());
}

#[test]
fn a_link_outlives_the_runtime_that_it_was_made_in() {
    let first = runtime();
    let world = first.block_on(World::new());
    let link = first.block_on(async { world.container().await.link().await.unwrap() });
    first.block_on(echo(&link, "first"));
    drop(first);
    let second = runtime();
    second.block_on(async {
        echo(&link, "second").await;
        link.ping().await.unwrap();
        link.close().await.unwrap();
    });
    world.finish();
}

#[test]
fn two_runtimes_use_one_link_at_the_same_time() {
    let runtime_of_link = runtime();
    let world = runtime_of_link.block_on(World::new());
    let link = runtime_of_link.block_on(async { world.container().await.link().await.unwrap() });
    thread::scope(|scope| {
        for name in ["one", "other"] {
            let link = &link;
            scope.spawn(move || {
                runtime().block_on(async {
                    for number in 0..100 {
                        echo(link, &format!("{name}{number}")).await;
                        link.ping().await.unwrap();
                    }
                });
            });
        }
    });
    runtime_of_link.block_on(link.close()).unwrap();
    world.finish();
}

#[test]
fn a_runtime_that_goes_down_takes_its_commands_along_and_not_the_link() {
    let outer = runtime();
    let world = outer.block_on(World::new());
    let link = outer.block_on(async { world.container().await.link().await.unwrap() });
    let tag = tag();
    let doomed = runtime();
    for _ in 0..3 {
        let (link, tag) = (link.clone(), tag.clone());
        doomed.spawn(async move {
            let mut command = link.command("sh");
            command.args(["-c", "sleep $0 & exec sleep $0", &tag]);
            let child = command.stdout(Stdio::piped()).spawn().await.unwrap();
            child.wait_with_output().await.unwrap();
        });
    }
    doomed.block_on(until("they run", SOON, || tagged(&tag) == 6));
    drop(doomed);
    outer.block_on(async {
        until_tagged(&tag, 0, SOON).await;
        echo(&link, "still here").await;
        link.close().await.unwrap();
    });
    world.finish();
}
