//! Agents that are short of something.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::iter;
use std::process::Command;
use std::time::Duration;

use apptainer::exec::{ExecError, LinkError, StartStage};
use apptainer::sys::process::Pid;
use apptainer::{Link, Stdio};
use fixtures::World;

use super::processes::{SOON, descriptors, is_idle, memory, tag, until, until_tagged};
use super::ways::detached;

/// Sets a soft limit of a process that runs.
fn limit(pid: Pid, name: &str, soft: &str) {
    let limit = format!("--{name}={soft}:");
    let mut prlimit = Command::new("prlimit");
    let status = prlimit.args(["--pid", &pid.to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

/// The soft limit of a process that runs.
fn soft(pid: Pid, name: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limits = limits.lines().find_map(|line| line.strip_prefix(name));
    limits
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned()
}

fn stage(error: &ExecError) -> (StartStage, i32) {
    match error {
        ExecError::Start(error) => (error.stage(), error.code()),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn one_without_descriptors_says_so_and_goes_on() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let pid = link.pid().unwrap();
    let before = descriptors(pid).len();
    let room = before + 40;
    limit(pid, "nofile", &room.to_string());
    let tag = tag();
    let mut children = Vec::new();
    let refusal = loop {
        let mut command = link.command("sleep");
        match command.arg(&tag).spawn().await {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        assert!(children.len() < room, "there is no room for more");
    };
    assert_eq!(
        stage(&refusal),
        (StartStage::Descriptors, nix::libc::EMFILE)
    );
    assert!(children.len() > 30, "{}", children.len());
    // With room for one, in which it is told that there is none for others.
    limit(pid, "nofile", &descriptors(pid).len().to_string());
    for _ in 0..20 {
        let error = link.command("true").output().await.unwrap_err();
        assert_eq!(stage(&error), (StartStage::Descriptors, nix::libc::EMFILE));
    }
    // The others are none the worse.
    until_tagged(&tag, children.len(), SOON).await;
    link.ping().await.unwrap();
    drop(children);
    until("it has closed", SOON, || descriptors(pid).len() <= before).await;
    assert!(link.command("true").status().await.unwrap().success());
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_without_descriptors_for_another_program_tells_it_so() {
    let world = World::new().await;
    let (link, socket) = detached(&world).await;
    let pid = link.pid().unwrap();
    limit(pid, "nofile", &descriptors(pid).len().to_string());
    let mut links = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        // Several at once, each of which is told.
        let attach = || Link::attach(&socket);
        let (one, two, three) = tokio::join!(attach(), attach(), attach());
        for attached in [one, two, three] {
            match attached {
                // There may be room for some, as its descriptors have numbers far apart.
                Ok(link) => links.push(link),
                Err(error) => {
                    assert!(matches!(error, LinkError::Full { .. }), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(links.len() < 20, "there is room");
    }
    assert!(is_idle(pid).await);
    limit(pid, "nofile", "1024");
    Link::attach(&socket).await.unwrap();
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_without_memory_for_a_command_says_so_and_goes_on() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let pid = link.pid().unwrap();
    let small = link.command("true").status().await.unwrap();
    assert!(small.success());
    let size = memory(pid, "VmSize");
    let before = soft(pid, "Max address space");
    limit(pid, "as", &(size + 200 * 1024).to_string());
    let mut command = link.command("true");
    let error = command.args(vec!["x".repeat(100_000); 12]).status().await;
    let (_, code) = stage(&error.unwrap_err());
    assert_eq!(code, nix::libc::ENOMEM);
    limit(pid, "as", &before);
    assert!(command.status().await.unwrap().success());
    link.close().await.unwrap();
    world.finish();
}

/// Whether this is for want of descriptors.
fn is_out_of_descriptors(error: &(dyn Error + 'static)) -> bool {
    let code = error.downcast_ref().and_then(io::Error::raw_os_error);
    code == Some(nix::libc::EMFILE) || error.source().is_some_and(is_out_of_descriptors)
}

#[tokio::test]
async fn a_caller_without_descriptors_is_told_so_and_nothing_is_lost() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let agent = link.pid().unwrap();
    let before = descriptors(agent).len();
    let mut running = link.command("cat");
    let running = running.stdin(Stdio::piped()).spawn().await;
    let mut running = running.unwrap();

    limit(Pid::try_from(std::process::id()).unwrap(), "nofile", "64");
    let mut taken: Vec<File> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut refused = 0;
    for free in 0..12 {
        let mut command = link.command("echo");
        let ran = command.arg("told").stdout(Stdio::piped()).output();
        let ran = tokio::time::timeout(Duration::from_secs(10), ran).await;
        match ran.expect("it does not hang") {
            Ok(output) => assert_eq!(output.stdout, "told\n"),
            Err(error) => {
                let is_told = match &error {
                    ExecError::Start(error) => error.code() == nix::libc::EMFILE,
                    error => is_out_of_descriptors(error),
                };
                assert!(is_told, "{free}: {error:?}");
                refused += 1;
            }
        }
        taken.pop();
    }
    assert!(refused > 0, "there was room");
    drop(taken);

    assert!(link.command("true").status().await.unwrap().success());
    link.ping().await.unwrap();
    assert_eq!(running.try_wait().unwrap(), None);
    drop(running.stdin.take());
    assert!(running.wait().await.unwrap().success());
    drop(running);
    until("it has closed", SOON, || descriptors(agent).len() == before).await;
    link.close().await.unwrap();
    world.finish();
}

/// The kernel does not hold root to this limit.
#[tokio::test]
async fn one_that_may_have_no_more_processes_says_so_and_goes_on() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("not tested: it takes an ordinary user");
        return;
    }
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let pid = link.pid().unwrap();
    let mut running = link.command("cat");
    let running = running.stdin(Stdio::piped()).spawn().await;
    let mut running = running.unwrap();
    let before = soft(pid, "Max processes");
    limit(pid, "nproc", "1");
    let error = link.command("true").status().await.unwrap_err();
    assert!(error.is_out_of_processes(), "{error:?}");
    assert_eq!(stage(&error), (StartStage::Process, nix::libc::EAGAIN));
    link.ping().await.unwrap();
    assert_eq!(running.try_wait().unwrap(), None);
    limit(pid, "nproc", &before);
    assert!(link.command("true").status().await.unwrap().success());
    assert!(running.wait().await.unwrap().success());
    link.close().await.unwrap();
    world.finish();
}
