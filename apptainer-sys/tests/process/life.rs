//! How long a process lives, whose it is, and what it used.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use apptainer_sys::process::{
    Exit, Mechanism, Pid, PidFd, Session, Signal, Spawn, SpawnStage, Stdio, is_subreaper,
    set_subreaper,
};

use crate::{both_ways, shell};

/// Set for a process that one of these tests starts of its own program.
const ROLE: &str = "PROCESS_TEST_ROLE";

/// This test again, in a process of its own, with a part to play.
fn again(test: &str, role: &str) -> Spawn {
    let mut spawn = Spawn::new(std::env::current_exe().unwrap());
    spawn
        .args(["--exact", test, "--nocapture"])
        .set_env(ROLE, role)
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe());
    spawn
}

#[test]
fn a_process_ends_with_the_callers_process_and_not_with_its_thread() {
    const TEST: &str = "life::a_process_ends_with_the_callers_process_and_not_with_its_thread";
    if std::env::var_os(ROLE).is_some() {
        // The caller: the thread that asks for the process ends at once.
        let child = std::thread::spawn(|| {
            let mut spawn = Spawn::new("/bin/sleep");
            spawn.args(["60"]).parent_death_signal(Signal::KILL);
            spawn.spawn().unwrap()
        });
        let mut child = child.join().unwrap();
        let ended = child.pidfd().wait_ended(Some(Duration::from_millis(300)));
        assert!(!ended.unwrap(), "it ended with a thread");
        println!("\npid {}", child.pid());
        child.wait().unwrap();
        return;
    }
    let mut caller = again(TEST, "caller").spawn().unwrap();
    let lines = BufReader::new(std::fs::File::from(caller.stdout.take().unwrap())).lines();
    let pid: Pid = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.strip_prefix("pid ")?.parse().unwrap()))
        .unwrap();
    let child = PidFd::open(pid).unwrap();
    assert!(!child.has_ended().unwrap());
    caller.signal(Signal::KILL).unwrap();
    caller.wait().unwrap();
    let limit = Some(Duration::from_secs(20));
    assert!(child.wait_ended(limit).unwrap(), "it outlived the caller");
}

#[test]
fn what_is_tied_keeps_to_its_callers_cpus() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let all = sched_getaffinity(this).unwrap();
    let one = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap());
    let tied = || {
        let mut spawn = Spawn::new("/bin/grep");
        spawn
            .args(["-h", "Cpus_allowed:", "/proc/self/status"])
            .stdout(Stdio::pipe())
            .parent_death_signal(Signal::KILL);
        spawn.spawn().unwrap().output().unwrap().stdout
    };
    // Whoever comes first makes the thread.
    let first = std::thread::spawn(move || {
        let mut own = CpuSet::new();
        own.set(one.unwrap()).unwrap();
        sched_setaffinity(this, &own).unwrap();
        tied()
    });
    let first = first.join().unwrap();
    let second = tied();
    let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = own.lines().find(|line| line.starts_with("Cpus_allowed:"));
    assert_eq!(String::from_utf8(second).unwrap().trim_end(), line.unwrap());
    if (0..CpuSet::count())
        .filter(|cpu| all.is_set(*cpu).unwrap())
        .count()
        > 1
    {
        assert_ne!(String::from_utf8(first).unwrap().trim_end(), line.unwrap());
    }
}

#[test]
fn posix_spawn_cannot_tie_lives() {
    let mut spawn = shell(Mechanism::PosixSpawn, "true");
    spawn.parent_death_signal(Signal::KILL);
    let error = spawn.spawn().unwrap_err();
    assert_eq!(error.stage, SpawnStage::ParentDeath);
    assert_eq!(error.source.kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn what_a_debugger_holds_is_waited_for() {
    const TEST: &str = "life::what_a_debugger_holds_is_waited_for";
    if let Some(pid) = std::env::var_os(ROLE) {
        // The debugger: it lets go when it ends, without having asked for anything.
        let pid = nix::unistd::Pid::from_raw(pid.to_str().unwrap().parse().unwrap());
        let seized = nix::sys::ptrace::seize(pid, nix::sys::ptrace::Options::empty());
        println!("\nseized {}", seized.is_ok());
        std::thread::sleep(Duration::from_millis(500));
        return;
    }
    let mut child = Spawn::new("/bin/sh");
    child.args(["-c", "read line; exit 7"]).stdin(Stdio::pipe());
    let mut child = child.spawn().unwrap();
    let mut debugger = again(TEST, &child.pid().to_string()).spawn().unwrap();
    let mut lines = BufReader::new(std::fs::File::from(debugger.stdout.take().unwrap())).lines();
    let said = lines.find_map(|line| line.unwrap().strip_prefix("seized ").map(str::to_owned));
    drop(child.stdin.take());
    assert!(
        child
            .pidfd()
            .wait_ended(Some(Duration::from_secs(20)))
            .unwrap()
    );
    // Where users may trace only what they started, there was no debugger.
    if said.unwrap() == "true" {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    assert_eq!(child.wait().unwrap(), Exit::Code(7));
    debugger.wait().unwrap();
}

#[test]
fn orphans_come_to_a_subreaper() {
    const TEST: &str = "life::orphans_come_to_a_subreaper";
    if std::env::var_os(ROLE).is_none() {
        // In a process of its own, for it is a property of the whole process.
        let adopter = again(TEST, "adopter").spawn().unwrap();
        assert_eq!(adopter.output().unwrap().exit, Exit::Code(0));
        return;
    }
    assert!(!is_subreaper().unwrap());
    set_subreaper(true).unwrap();
    assert!(is_subreaper().unwrap());
    let mut parent = Spawn::new("/bin/sh");
    parent
        .args(["-c", "sleep 0.1 & echo $!"])
        .stdout(Stdio::pipe());
    let parent = parent.spawn().unwrap().output().unwrap();
    let orphan: Pid = std::str::from_utf8(&parent.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let reaped = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(orphan), None).unwrap();
    assert_eq!(reaped.pid().unwrap().as_raw(), orphan);
}

both_ways! {
    fn what_it_used_is_told_once_it_is_reaped(way) {
        // 32 MiB, written to.
        let script = "head -c 33554432 /dev/zero | tail -c 33554432 | wc -c";
        let mut child = shell(way, script).spawn().unwrap();
        assert_eq!(child.usage(), None);
        child.wait().unwrap();
        let usage = child.usage().unwrap();
        assert!(usage.max_resident > 32 << 20, "{usage:?}");
        assert!(usage.user + usage.system > Duration::ZERO, "{usage:?}");
        assert!(usage.minor_faults > 0, "{usage:?}");
    }

    fn all_of_its_group_can_be_signalled(way) {
        let mut spawn = shell(way, "sleep 60 & sleep 60 & echo ready; wait");
        spawn.session(Session::NewGroup);
        let mut child = spawn.spawn().unwrap();
        let mut stdout = BufReader::new(std::fs::File::from(child.stdout.take().unwrap()));
        stdout.read_line(&mut String::new()).unwrap();
        child.signal_group(Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Signal(Signal::TERM));
        // Whoever has the pipe is gone: that is its end.
        assert_eq!(stdout.read_line(&mut String::new()).unwrap(), 0);
        child.signal_group(Signal::TERM).unwrap();
    }

    fn how_it_was_started_is_told(way) {
        let mut child = shell(way, "true").spawn().unwrap();
        assert_eq!(child.mechanism(), way);
        child.wait().unwrap();
    }
}
