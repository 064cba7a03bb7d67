//! What keeps logs and times.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::super::files::times_of;
use super::super::turn::Turn;
use super::super::{Halt, Halting, Keeper, LogSettings, keep};
use super::{Logs, all, in_time, nobody, numbered};

/// Waits for something that a keeper does.
async fn until(mut is_so: impl FnMut() -> bool) {
    in_time(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_asked_for() {
    let logs = Logs::new();
    let kept: Option<Keeper> = keep(&LogSettings::default(), logs.paths(), nobody()).unwrap();
    assert!(kept.is_none());
}

#[tokio::test]
async fn times_are_those_at_which_lines_were_written() {
    let logs = Logs::new();
    logs.write("earlier\n");
    let settings = LogSettings::default().timestamps(true);
    let _keeper = keep(&settings, logs.paths(), nobody()).unwrap();
    let index = times_of(logs.out().log());
    let marks = || fs::metadata(&index).map_or(0, |found| found.len()) / 16;
    until(|| marks() == 1).await;
    let mut bounds = vec![SystemTime::now()];
    for round in 1..4 {
        logs.write(numbered(0..round));
        until(|| marks() == u64::from(round) + 1).await;
        bounds.push(SystemTime::now());
    }
    let lines = all(logs.read().timestamps(true).lines().await.unwrap()).await;
    let rounds = [0, 1, 2, 2, 3, 3, 3];
    for (line, round) in lines.iter().zip(rounds) {
        let at = line.at.unwrap();
        assert!(at <= bounds[round], "{line:?}");
        // Marks have microseconds.
        let least = round
            .checked_sub(1)
            .map(|round| bounds[round] - Duration::from_micros(1));
        assert!(least.is_none_or(|least| at >= least), "{line:?}");
    }
    assert_eq!(lines.len(), rounds.len());
}

#[tokio::test]
async fn neither_a_keeper_nor_a_follower_is_woken_without_cause() {
    let logs = Logs::new();
    let settings = LogSettings::default().timestamps(true).max_size(4096);
    let _keeper = keep(&settings, logs.paths(), nobody()).unwrap();
    logs.write(numbered(0..1000));
    let lines = logs.read().follow(true).lines().await.unwrap();
    let follower = tokio::spawn(all(lines));
    until(|| logs.out().rotated(2).exists()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let switches = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = switches();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Once for the sleep, and a few for what else the machine does.
    let count = switches() - before;
    assert!(count < 10, "{count}");
    assert!(!follower.is_finished());
    follower.abort();
}

/// Cannot halt anything.
#[derive(Debug, Default)]
struct Refused {
    resumed: AtomicU32,
}

impl Halt for Refused {
    fn halt(&self) -> Halting<'_> {
        Box::pin(async { Err(io::Error::from(io::ErrorKind::PermissionDenied)) })
    }

    fn resume(&self) -> Halting<'_> {
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn where_nobody_can_be_halted_logs_stay_as_they_are() {
    let logs = Logs::in_memory();
    let text = numbered(0..1000);
    logs.write(&text);
    let refused = Arc::new(Refused::default());
    let settings = LogSettings::default().max_size(4096);
    let _keeper = keep(
        &settings,
        logs.paths(),
        Arc::clone(&refused) as Arc<dyn Halt>,
    )
    .unwrap();
    until(|| refused.resumed.load(Ordering::Relaxed) > 0).await;
    assert_eq!(fs::read_to_string(logs.out().log()).unwrap(), text);
    assert!(logs.text().await == text);
    until(|| Turn::new(&logs.out(), 1).unwrap().is_some()).await;
    let turn = Turn::new(&logs.out(), 1).unwrap().unwrap();
    assert_eq!(turn.pending().unwrap(), None);
}

/// Halts for as long as it is told to.
#[derive(Debug, Default)]
struct Slow {
    halted: tokio::sync::Notify,
    go: tokio::sync::Notify,
    resumed: tokio::sync::Notify,
}

impl Halt for Slow {
    fn halt(&self) -> Halting<'_> {
        Box::pin(async {
            self.halted.notify_one();
            self.go.notified().await;
            Ok(())
        })
    }

    fn resume(&self) -> Halting<'_> {
        Box::pin(async {
            self.resumed.notify_one();
            Ok(())
        })
    }
}

#[tokio::test]
async fn who_was_halted_goes_on_although_the_keeper_is_dropped() {
    let logs = Logs::in_memory();
    let text = numbered(0..1000);
    logs.write(&text);
    let slow = Arc::new(Slow::default());
    let settings = LogSettings::default().max_size(4096);
    let keeper = keep(&settings, logs.paths(), Arc::clone(&slow) as Arc<dyn Halt>).unwrap();
    in_time(slow.halted.notified()).await;
    drop(keeper);
    slow.go.notify_one();
    in_time(slow.resumed.notified()).await;
    assert!(logs.text().await == text);
    assert!(logs.out().rotated(1).exists());
}

#[tokio::test]
async fn what_was_written_last_is_seen_to_before_a_keeper_is_done() {
    let logs = Logs::in_memory();
    let settings = LogSettings::default().timestamps(true).max_size(4096);
    let keeper = keep(&settings, logs.paths(), nobody()).unwrap().unwrap();
    logs.write(numbered(0..1000));
    in_time(keeper.finish()).await;
    assert!(fs::metadata(logs.out().log()).unwrap().len() <= 4096);
    let rotated = fs::metadata(times_of(&logs.out().rotated(1))).unwrap();
    assert!(rotated.len() > 0);
    // Nothing is made anew.
    super::super::remove(&logs.paths());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fs::read_dir(logs.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn times_are_for_nobody_else_from_the_first() {
    use std::os::unix::fs::PermissionsExt;
    let logs = Logs::new();
    let settings = LogSettings::default().timestamps(true);
    let _keeper = keep(&settings, logs.paths(), nobody()).unwrap();
    let index = fs::metadata(times_of(logs.out().log())).unwrap();
    assert_eq!(index.permissions().mode() & 0o777, 0o600);
}

/// Counts how often it halts and lets go on.
#[derive(Debug, Default)]
struct Counting {
    halted: AtomicU32,
    resumed: AtomicU32,
}

impl Halt for Counting {
    fn halt(&self) -> Halting<'_> {
        self.halted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn resume(&self) -> Halting<'_> {
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn who_was_halted_goes_on_although_a_reader_keeps_its_lock() {
    let logs = Logs::in_memory();
    let text = numbered(0..1000);
    logs.write(&text);
    drop(Turn::new(&logs.out(), 1).unwrap());
    let reader = fs::File::open(logs.out().record()).unwrap();
    reader.lock_shared().unwrap();
    let counting = Arc::new(Counting::default());
    let settings = LogSettings::default().max_size(4096);
    let halt = Arc::clone(&counting) as Arc<dyn Halt>;
    let _keeper = keep(&settings, logs.paths(), halt).unwrap();
    until(|| counting.resumed.load(Ordering::Relaxed) > 0).await;
    assert_eq!(counting.halted.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read_to_string(logs.out().log()).unwrap(), text);
}
