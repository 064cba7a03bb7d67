//! What an agent is and has: little, and no more after many commands than before.

use std::fs;

use apptainer::{Link, Stdio};
use fixtures::World;

use super::processes::{SOON, descriptors, is_idle, memory, until, zombies_of};
use super::ways::{Ways, detached};

const KIB: u64 = 1024;

#[tokio::test]
async fn its_program_and_its_memory_are_small() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    for _ in 0..50 {
        let mut command = link.command("true");
        let args = (0..100).map(|number| format!("{number:0500}"));
        assert!(command.args(args).status().await.unwrap().success());
    }
    let pid = link.pid().unwrap();
    let program = fs::metadata(format!("/proc/{pid}/exe")).unwrap();
    assert!(program.len() < 100 * KIB, "{}", program.len());
    let resident = memory(pid, "VmRSS");
    assert!(resident < 1024 * KIB, "{resident}");
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_whose_programs_have_left_is_idle() {
    let world = World::new().await;
    let (link, socket) = detached(&world).await;
    let agent = link.pid().unwrap();
    drop(link);
    for _ in 0..3 {
        Link::attach(&socket).await.unwrap().ping().await.unwrap();
    }
    assert!(is_idle(agent).await);
    Link::attach(&socket).await.unwrap().close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_has_no_more_after_many_commands_than_before_and_nor_have_we() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let pid = link.pid().unwrap();
    let me = apptainer::sys::process::Pid::try_from(std::process::id()).unwrap();
    let run = async |count: usize| {
        for number in 0..count {
            let mut command = link.command("sh");
            let script = "(sleep 0 &); exit 3";
            command.args(["-c", script]).stdin(Stdio::piped());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().await.unwrap();
            if number % 2 == 0 {
                assert_eq!(child.wait().await.unwrap().code(), Some(3));
            }
        }
    };
    // What is made once has been made then, and of what was dropped nothing is left.
    run(10).await;
    while !link.commands().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    until("it has reaped", SOON, || zombies_of(pid) == 0).await;
    let (theirs, ours) = (descriptors(pid).len(), descriptors(me).len());
    run(300).await;
    until("it has reaped", SOON, || zombies_of(pid) == 0).await;
    until("it has closed", SOON, || descriptors(pid).len() == theirs).await;
    assert_eq!(descriptors(me).len(), ours, "{:?}", descriptors(me));
    assert_eq!(zombies_of(me), 0);
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_has_nothing_open_that_its_starter_had() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    for (number, path) in descriptors(link.pid().unwrap()) {
        let path = path.to_str().unwrap().to_owned();
        let kinds = [
            "/dev/null",
            "socket:",
            "anon_inode:[eventpoll]",
            "anon_inode:[signalfd]",
            "/proc",
        ];
        let is_its_own = kinds.iter().any(|kind| path.starts_with(kind));
        assert!(is_its_own, "{number}: {path}");
    }
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_writes_nothing_into_its_container() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let status = command.args(["-c", "kill -9 $$"]).status().await;
        assert!(status.unwrap().signal().is_some(), "{way}");
    }
    for (_, mut command) in ways.commands("no-such-program") {
        command.status().await.unwrap_err();
    }
    for log in ways.instance.logs() {
        assert_eq!(fs::read(&log).unwrap(), b"", "{}", log.display());
    }
    let pid = ways.link.pid().unwrap();
    for stream in 0..3 {
        let path = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(path.to_str(), Some("/dev/null"));
    }
    ways.finish(world).await;
}
