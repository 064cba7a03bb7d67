//! Instances that are paused and counted, of whatever the machine has for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use apptainer::instance::{Mechanism, Stats};
use apptainer::sys::process::{Pid, Process, State};
use apptainer::{Child, Instance};
use fixtures::World;

/// Something busy in an instance, and its pid on the host.
async fn busy(instance: &Instance) -> (Child, Pid) {
    let mut command = instance.command("sh");
    command.args(["-c", "while :; do :; done"]);
    let child = command.spawn().await.unwrap();
    let pid = wait_for(|| inhabitant(instance.pid(), "sh"));
    (child, pid)
}

/// What is called so and runs in the container of a process.
fn inhabitant(pid: Pid, name: &str) -> Option<Pid> {
    let namespace = |pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let all = Process::all().unwrap().into_iter();
    let mut named = all.filter(|process| process.name == name);
    named
        .find(|process| namespace(process.pid) == namespace(pid))
        .map(|process| process.pid)
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a process has used of a CPU, in clock ticks.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

fn stands_still(pid: Pid) -> bool {
    let before = ticks(pid);
    std::thread::sleep(Duration::from_millis(100));
    ticks(pid) == before
}

#[tokio::test]
async fn one_that_is_paused_stands_still_until_it_is_resumed() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let (mut child, pid) = busy(&instance).await;
    let mechanism = instance.pause().await.unwrap();
    assert_eq!(mechanism, Mechanism::Signals);
    wait_for(|| (Process::read(pid).unwrap()?.state == State::Stopped).then_some(()));
    assert!(stands_still(pid));
    assert_eq!(instance.pause().await.unwrap(), mechanism);
    let before = ticks(pid);
    instance.resume().await.unwrap();
    instance.resume().await.unwrap();
    wait_for(|| (ticks(pid) > before).then_some(()));
    assert!(instance.is_running().unwrap());
    let output = instance.command("hostname").output().await.unwrap();
    assert!(output.status.success());
    child.kill().await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_one_handle_pauses_another_resumes() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let (mut child, pid) = busy(&instance).await;
    instance.pause().await.unwrap();
    let other = Instance::attach(world.client(), instance.name());
    let other = other.await.unwrap();
    let before = ticks(pid);
    other.resume().await.unwrap();
    wait_for(|| (ticks(pid) > before).then_some(()));
    child.kill().await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_that_is_paused_can_be_stopped() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let (child, _) = busy(&instance).await;
    instance.pause().await.unwrap();
    instance.stop().await.unwrap();
    drop(child);
    world.finish();
}

#[tokio::test]
async fn one_that_is_paused_and_dropped_goes_away() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let (child, _) = busy(&instance).await;
    instance.pause().await.unwrap();
    drop(instance);
    drop(child);
    world.finish();
}

/// Something in an instance that holds 100 MiB.
async fn holder(instance: &Instance) -> Child {
    let mut command = instance.command("sh");
    command.args(["-c", "dd if=/dev/zero bs=100M count=1 | sleep 1000"]);
    command.spawn().await.unwrap()
}

async fn stats_when(instance: &Instance, are: impl Fn(&Stats) -> bool) -> Stats {
    let started = Instant::now();
    loop {
        let stats = instance.stats().await.unwrap();
        if are(&stats) {
            return stats;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_it_uses_is_counted_and_what_it_used_stays_so() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let empty = instance.stats().await.unwrap();
    assert_eq!(empty.mechanism, Mechanism::Processes);
    let mut memory = holder(&instance).await;
    let full = stats_when(&instance, |now| now.memory.anonymous > 100 << 20).await;
    assert!(full.memory.current >= full.memory.anonymous);
    assert!(full.processes > empty.processes && full.pids.current > empty.pids.current);
    let (mut child, _) = busy(&instance).await;
    let half_a_second = Duration::from_millis(500);
    let used = stats_when(&instance, |now| {
        now.cpu.usage > full.cpu.usage + half_a_second
    })
    .await;
    assert_eq!(used.cpu.usage, used.cpu.user + used.cpu.system);
    child.kill().await.unwrap();
    memory.kill().await.unwrap();
    // The agent has waited for it.
    let after = stats_when(&instance, |now| now.processes < used.processes).await;
    assert!(after.cpu.usage >= used.cpu.usage, "{after:?} {used:?}");
    instance.stop().await.unwrap();
    world.finish();
}

/// Apptainer makes cgroups for root without asking systemd where its configuration says so.
async fn with_cgroups() -> Option<(World, tempfile::TempDir)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tested: only root may say so");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string("/etc/apptainer/apptainer.conf").unwrap();
    let config = config.replace("systemd cgroups = yes", "systemd cgroups = no");
    fs::write(folder.path().join("apptainer.conf"), config).unwrap();
    let program = folder.path().join("apptainer");
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/apptainer --config {}/apptainer.conf \"$@\"\n",
        folder.path().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let world = World::with(|builder| builder.program(program)).await;
    Some((world, folder))
}

#[tokio::test]
async fn the_cgroup_that_apptainer_made_counts_and_freezes() {
    let Some((world, _folder)) = with_cgroups().await else {
        return;
    };
    let instance = world.container().await.start().await.unwrap();
    let (mut child, pid) = busy(&instance).await;
    let stats = instance.stats().await.unwrap();
    assert!(matches!(stats.mechanism, Mechanism::Cgroup(_)), "{stats:?}");
    assert!(
        stats.processes >= 3 && stats.memory.peak.is_some(),
        "{stats:?}"
    );
    let mechanism = instance.pause().await.unwrap();
    assert!(matches!(mechanism, Mechanism::Cgroup(_)), "{mechanism:?}");
    assert!(stands_still(pid));
    let before = ticks(pid);
    instance.resume().await.unwrap();
    wait_for(|| (ticks(pid) > before).then_some(()));
    child.kill().await.unwrap();
    for is_stopped in [true, false] {
        let other = world.container().await.start().await.unwrap();
        let (child, _) = busy(&other).await;
        other.pause().await.unwrap();
        if is_stopped {
            other.stop().await.unwrap();
        } else {
            drop(other);
        }
        drop(child);
    }
    instance.stop().await.unwrap();
    world.finish();
}
