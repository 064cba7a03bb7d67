//! What is so for leases only.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

use super::super::{FileLock, Locking};
use super::other::Other;

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(600);

fn try_take(path: &Path, length: Duration) -> Option<FileLock> {
    FileLock::try_take_for(path, Locking::Lease, length).unwrap()
}

/// The lease of somebody who is gone, renewed at that time.
fn abandoned(path: &Path, renewed: SystemTime) {
    let folder = path.with_extension("lease");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("token"), "somebody").unwrap();
    set_time(path, renewed);
}

fn token(path: &Path) -> PathBuf {
    let mut tokens = fs::read_dir(path.with_extension("lease")).unwrap();
    let token = tokens.next().unwrap().unwrap().path();
    assert!(tokens.next().is_none());
    token
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(token(path)).unwrap();
    file.set_modified(time).unwrap();
}

/// Waits until the lease is over, and takes it.
fn take_when_over(path: &Path, length: Duration) -> FileLock {
    let began = Instant::now();
    loop {
        if let Some(lock) = try_take(path, length) {
            return lock;
        }
        assert!(began.elapsed() < LONG, "nobody lets go of it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_holder_loses_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let mut other = Other::new(&path, Locking::Lease, SHORT);
    assert_eq!(other.ask("take"), "true");
    other.kill();
    // Not at once, for nobody can see it.
    let lock = take_when_over(&path, SHORT);
    assert!(lock.is_held());
    drop(lock);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_stopped_holder_loses_its_lease_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let mut other = Other::new(&path, Locking::Lease, 2 * SHORT);
    assert_eq!(other.ask("take"), "true");
    other.signal("STOP");
    let lock = take_when_over(&path, 2 * SHORT);
    lock.write(b"me").unwrap();
    other.signal("CONT");
    assert_eq!(other.ask("is held"), "false");
    assert_eq!(other.ask("take"), "false");
    assert_eq!(other.ask("drop"), "dropped");
    assert_eq!(FileLock::read(&path, Locking::Lease).unwrap(), b"me");
    assert!(lock.is_held());
    drop(lock);
    assert_eq!(other.ask("take"), "true");
}

#[test]
fn a_live_holder_keeps_its_lease() {
    const LENGTH: Duration = Duration::from_secs(4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let mut other = Other::new(&path, Locking::Lease, LENGTH);
    assert_eq!(other.ask("take"), "true");
    let began = Instant::now();
    while began.elapsed() < 3 * LENGTH {
        assert!(try_take(&path, LENGTH).is_none());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(other.ask("is held"), "true");
    other.ask("drop");
    assert!(try_take(&path, LENGTH).is_some());
}

#[test]
fn no_two_hold_it_at_whatever_moment_they_are_stopped() {
    const LENGTH: Duration = Duration::from_millis(400);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let new = |_| Other::new(&path, Locking::Lease, LENGTH);
    let mut others: Vec<_> = (0..4).map(new).collect();
    for other in &mut others {
        other.send("hold");
    }
    let began = Instant::now();
    for round in 0_usize.. {
        if began.elapsed() > Duration::from_secs(5) {
            break;
        }
        // Two at a time, for some of a length up to one and a half.
        let two = [&others[round % 4], &others[(round / 3 + 1) % 4]];
        for other in two {
            other.signal("STOP");
        }
        let pause = u32::try_from(round * 7 % 15 + 1).unwrap();
        std::thread::sleep(LENGTH / 10 * pause);
        for other in two {
            other.signal("CONT");
        }
        std::thread::sleep(LENGTH / 20);
    }
    let mut times = Vec::new();
    for other in &mut others {
        let answer = other.answer();
        let held = answer.strip_suffix("that is all").unwrap();
        for time in held.split_terminator(',') {
            let (from, until) = time.split_once(' ').unwrap();
            times.push([from, until].map(|time| time.parse::<u128>().unwrap()));
        }
    }
    times.sort_unstable();
    assert!(times.len() > 1);
    for pair in times.windows(2) {
        assert!(pair[0][1] <= pair[1][0], "{pair:?}");
    }
}

#[test]
fn one_thread_renews_all_leases_and_ends_with_them() {
    fn has_thread() -> bool {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let names = threads.map(|thread| fs::read(thread.unwrap().path().join("comm")));
        let ours = |name: &Vec<u8>| name.starts_with(b"apptainer-lease");
        let count = names.flatten().filter(ours).count();
        assert!(count <= 1);
        count == 1
    }
    let folder = tempfile::tempdir().unwrap();
    let take = |name: &str| try_take(&folder.path().join(name), SHORT).unwrap();
    let locks = [take("web"), take("db")];
    let renewed = |name| {
        fs::metadata(token(&folder.path().join(name)))
            .unwrap()
            .modified()
    };
    let before = ["web", "db"].map(|name| renewed(name).unwrap());
    let began = Instant::now();
    while ["web", "db"].map(|name| renewed(name).unwrap()) == before
        || renewed("web").unwrap() == before[0]
        || renewed("db").unwrap() == before[1]
    {
        assert!(began.elapsed() < LONG, "nobody renews them");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(has_thread());
    drop(locks);
    // Tests that run beside this one, in one process, have leases of their own.
    if std::env::var_os("NEXTEST").is_some() {
        while has_thread() {
            assert!(began.elapsed() < LONG, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn one_of_many_takes_over() {
    for _ in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        abandoned(&path, SystemTime::now() - 2 * LONG);
        let start = Barrier::new(8);
        let takers: Vec<_> = std::thread::scope(|scope| {
            let take = || {
                start.wait();
                try_take(&path, LONG)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let winners: Vec<_> = takers.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert!(winners[0].is_held());
        assert_eq!(FileLock::read(&path, Locking::Lease).unwrap(), b"");
        drop(winners);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

#[test]
fn one_of_many_processes_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let new = |_| Other::new(&path, Locking::Lease, LONG);
    let mut others: Vec<_> = (0..4).map(new).collect();
    for _ in 0..50 {
        abandoned(&path, SystemTime::now() - 2 * LONG);
        for other in &mut others {
            other.send("take");
        }
        let taken: Vec<_> = others.iter_mut().map(Other::answer).collect();
        assert_eq!(taken.iter().filter(|taken| *taken == "true").count(), 1);
        for other in &mut others {
            other.ask("drop");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

#[test]
fn a_lease_is_over_when_it_is_older_than_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    abandoned(&path, SystemTime::now() - LONG / 2);
    assert!(try_take(&path, LONG).is_none());
    assert!(try_take(&path, LONG / 3).is_some());
}

#[test]
fn a_time_in_the_future_holds_for_one_length_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    // As if the clock had been put back since.
    abandoned(&path, SystemTime::now() + 100 * LONG);
    assert!(try_take(&path, SHORT).is_none());
    let lock = take_when_over(&path, SHORT);
    assert!(lock.is_held());
}

#[test]
fn a_holder_whose_clock_was_put_back_keeps_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let lock = try_take(&path, LONG).unwrap();
    set_time(&path, SystemTime::now() + 100 * LONG);
    for _ in 0..3 {
        assert!(try_take(&path, LONG).is_none());
    }
    assert!(lock.is_held());
}

#[test]
fn what_is_taken_away_is_not_removed_by_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let first = try_take(&path, LONG).unwrap();
    set_time(&path, SystemTime::now() - 2 * LONG);
    let second = try_take(&path, LONG).unwrap();
    second.write(b"second").unwrap();
    assert!(first.write(b"first").is_err());
    drop(first);
    assert_eq!(FileLock::read(&path, Locking::Lease).unwrap(), b"second");
    assert!(try_take(&path, LONG).is_none());
    drop(second);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn an_empty_folder_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    fs::create_dir(path.with_extension("lease")).unwrap();
    let lock = try_take(&path, LONG).unwrap();
    assert!(try_take(&path, LONG).is_none());
    drop(lock);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
