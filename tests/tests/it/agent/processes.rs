//! Finding processes on the host: what a test has started, and its agents.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use apptainer::sys::process::{Pid, Process, State};

/// How long something killed may take to be gone.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// A number that no other process of this machine bears in its command line: how long
/// commands sleep, in seconds, and by what they are found.
pub(super) fn tag() -> String {
    format!("7{}", std::process::id())
}

/// How many processes have a word that is `tag`, and are no zombies.
pub(super) fn tagged(tag: &str) -> usize {
    let has_tag = |process: &&Process| {
        let words = Process::command_line(process.pid).unwrap();
        process.state != State::Zombie
            && words.is_some_and(|words| words.iter().any(|word| word == tag.as_bytes()))
    };
    Process::all().unwrap().iter().filter(has_tag).count()
}

/// Waits until so many processes have this word.
pub(super) async fn until_tagged(tag: &str, count: usize, limit: Duration) {
    let what = format!("there are {count} of {tag}");
    until(&what, limit, || tagged(tag) == count).await;
}

/// Waits until something is so.
pub(super) async fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The agents below this process.
pub(super) fn agents() -> Vec<Pid> {
    let me = Pid::try_from(std::process::id()).unwrap();
    let table = Process::all().unwrap();
    let is_below = |process: &&Process| {
        let mut pid = process.pid;
        while let Some(parent) = table.iter().find(|other| other.pid == pid) {
            if parent.parent == me {
                return true;
            }
            pid = parent.parent;
        }
        false
    };
    let is_agent =
        |process: &&Process| process.name == "apptainer-agent" && process.state != State::Zombie;
    let agents = table.iter().filter(is_agent).filter(is_below);
    agents.map(|process| process.pid).collect()
}

/// The one agent below this process.
pub(super) fn agent() -> Pid {
    let agents = agents();
    assert_eq!(agents.len(), 1, "{agents:?}");
    agents[0]
}

/// How many zombies wait for this process to reap them.
pub(super) fn zombies_of(pid: Pid) -> usize {
    let is_one = |process: &&Process| process.parent == pid && process.state == State::Zombie;
    Process::all().unwrap().iter().filter(is_one).count()
}

/// Where a process's descriptors lead, by their numbers.
pub(super) fn descriptors(pid: Pid) -> Vec<(i32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // The one that the directory is read by is gone by now.
    let mut all: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    all.sort();
    all
}

/// How long a process has worked, in hundredths of a second.
fn work(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Whether a process does little in the next second.
pub(super) async fn is_idle(pid: Pid) -> bool {
    let before = work(pid);
    tokio::time::sleep(SOON).await;
    work(pid) - before < 30
}

/// A quantity of `/proc/PID/status`, which has it in KiB, in bytes.
pub(super) fn memory(pid: Pid, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line
        .unwrap()
        .trim_start_matches(':')
        .trim_end_matches("kB")
        .trim();
    kib.parse::<u64>().unwrap() * 1024
}
