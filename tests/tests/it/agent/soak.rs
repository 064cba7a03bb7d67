//! Very many commands: in a row, at once, and by callers that are killed. They take
//! minutes, so `scripts/soak` runs them, and no other does.

use std::env;
use std::time::Instant;

use apptainer::sys::process::Pid;
use apptainer::{Link, Stdio};
use fixtures::World;
use tokio::io::AsyncWriteExt;

use super::caller_killed::Caller;
use super::processes::{
    SOON, agents, descriptors, memory, tag, tagged, until, until_tagged, zombies_of,
};

fn count(variable: &str, otherwise: usize) -> usize {
    env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

fn me() -> Pid {
    Pid::try_from(std::process::id()).unwrap()
}

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: usize,
    zombies: usize,
    resident: u64,
}

impl Holdings {
    fn of(pid: Pid) -> Self {
        Self {
            descriptors: descriptors(pid).len(),
            zombies: zombies_of(pid),
            resident: memory(pid, "VmRSS"),
        }
    }

    /// Checks that it has no more than before, but for so much memory.
    fn check(self, whose: &str, before: Self, slack: u64) {
        println!("{whose}: {before:?}, afterwards {self:?}");
        assert_eq!(self.descriptors, before.descriptors, "{whose}");
        assert_eq!(self.zombies, 0, "{whose}");
        assert!(self.resident <= before.resident + slack, "{whose}");
    }
}

/// Waits until an agent is done with what has ended: it has as many descriptors as it had
/// before its first command.
async fn until_at_rest(agent: Pid, fresh: usize) {
    until("it is at rest", SOON, || {
        zombies_of(agent) == 0 && descriptors(agent).len() == fresh
    })
    .await;
}

/// Runs commands in the ways that there are.
async fn run(link: &Link, count: usize) {
    for number in 0..count {
        let mut command = link.command("true");
        match number % 3 {
            0 => assert!(command.status().await.unwrap().success()),
            1 => assert!(command.output().await.unwrap().status.success()),
            _ => assert!(
                command
                    .spawn()
                    .await
                    .unwrap()
                    .wait()
                    .await
                    .unwrap()
                    .success()
            ),
        }
    }
}

#[tokio::test]
#[ignore = "takes minutes: run by scripts/soak"]
async fn many_in_a_row_leave_nothing() {
    let commands = count("SOAK_COMMANDS", 100_000);
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let agent = link.pid().unwrap();
    let fresh = descriptors(agent).len();
    // What is made once has been made then.
    run(&link, 2000).await;
    until_at_rest(agent, fresh).await;
    let before = [me(), agent].map(Holdings::of);

    let started = Instant::now();
    run(&link, commands).await;
    println!("{commands} commands in a row: {:.1?}", started.elapsed());
    until_at_rest(agent, fresh).await;
    Holdings::of(me()).check("the caller", before[0], 1 << 20);
    Holdings::of(agent).check("the agent", before[1], 64 << 10);
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
#[ignore = "takes long: run by scripts/soak"]
async fn many_at_once_leave_nothing() {
    let commands = count("SOAK_AT_ONCE", 1000);
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let agent = link.pid().unwrap();
    let fresh = descriptors(agent).len();
    run(&link, 100).await;
    until_at_rest(agent, fresh).await;
    let before = [me(), agent].map(Holdings::of);

    let started = Instant::now();
    let mut children = Vec::new();
    for number in 0..commands {
        let mut command = link.command("sh");
        command.args([
            "-c",
            "read word; echo $0 $word; exit 7",
            &number.to_string(),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        children.push(command.spawn().await.unwrap());
    }
    println!("{commands} commands at once run: {:.1?}", started.elapsed());
    for child in &mut children {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    for (number, mut child) in children.into_iter().enumerate() {
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"go\n").await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.stdout, format!("{number} go\n").as_bytes());
        assert_eq!(output.status.code(), Some(7));
    }
    println!("and have ended: {:.1?}", started.elapsed());
    until_at_rest(agent, fresh).await;
    // Room for so many is kept.
    Holdings::of(me()).check("the caller", before[0], 8 << 20);
    Holdings::of(agent).check("the agent", before[1], 1 << 20);
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
#[ignore = "takes minutes: run by scripts/soak"]
async fn many_killed_callers_leave_nothing() {
    const AT_ONCE: usize = 10;
    let kills = count("SOAK_KILLS", 1000);
    let world = World::new().await;
    let _ = world.busybox().await;
    let tag = tag();
    let started = Instant::now();
    let mut killed = 0;
    while killed < kills {
        let round = AT_ONCE.min(kills - killed);
        let mut callers: Vec<_> = (0..round)
            .map(|_| Caller::start(&world, "run", &tag))
            .collect();
        for caller in &mut callers {
            caller.until_said("running");
        }
        assert!(tagged(&tag) > 0);
        callers.into_iter().for_each(Caller::kill);
        until_tagged(&tag, 0, SOON).await;
        until("no agent is there", SOON, || agents().is_empty()).await;
        killed += round;
    }
    println!("{kills} killed callers: {:.1?}", started.elapsed());
    world.finish();
}
