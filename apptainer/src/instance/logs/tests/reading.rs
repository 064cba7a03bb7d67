//! Reading and following.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::files::times_of;
use super::super::record::Record;
use super::super::times::note;
use super::super::{LogError, ReadLogs, ends};
use super::{Logs, Writer, all, next, texts};
use crate::exec::Source;

#[tokio::test]
async fn standard_output_comes_first_and_either_can_be_left_out() {
    let logs = Logs::new();
    logs.write("a\nb\r\nc");
    logs.write_error("x\ny\n");
    let read = async |read: ReadLogs| texts(read.lines().await.unwrap()).await;
    assert_eq!(read(logs.read()).await, ["a", "b", "x", "y", "c"]);
    assert_eq!(read(logs.read().stdout(false)).await, ["x", "y"]);
    assert_eq!(read(logs.read().stderr(false).tail(2)).await, ["b", "c"]);
    assert_eq!(read(logs.read().tail(1)).await, ["y", "c"]);
    assert!(read(logs.read().tail(0)).await.is_empty());
    let lines = all(logs.read().lines().await.unwrap()).await;
    let sources: Vec<_> = lines.iter().map(|line| line.source).collect();
    assert_eq!(sources[1..3], [Source::Stdout, Source::Stderr]);
    assert!(!lines[4].is_complete);
    assert!(lines[3].is_complete);
}

#[tokio::test]
async fn logs_that_are_not_there_are_empty() {
    let logs = Logs::new();
    for path in logs.paths() {
        fs::remove_file(path).unwrap();
    }
    assert!(all(logs.read().lines().await.unwrap()).await.is_empty());
    assert_eq!(ends(&logs.paths()).unwrap(), [0, 0]);
}

#[tokio::test]
async fn what_is_written_after_reading_began_is_not_read_unless_followed() {
    let logs = Logs::new();
    logs.write("before\n");
    let lines = logs.read().lines().await.unwrap();
    logs.write("after\n");
    assert_eq!(texts(lines).await, ["before"]);
}

#[tokio::test]
async fn a_reader_begins_where_the_instance_did() {
    let logs = Logs::new();
    logs.write("earlier\n");
    let starts = ends(&logs.paths()).unwrap();
    logs.write("now\n");
    let read = ReadLogs::new(logs.paths(), starts, logs.read().process);
    assert_eq!(texts(read.tail(5).lines().await.unwrap()).await, ["now"]);
}

#[tokio::test]
async fn a_long_line_comes_in_pieces() {
    let logs = Logs::new();
    let long = "x".repeat(150_000);
    logs.write(long.clone() + "\nshort\n");
    let lines = all(logs.read().lines().await.unwrap()).await;
    let pieces: Vec<_> = lines
        .iter()
        .map(|line| (line.bytes.len(), line.is_complete))
        .collect();
    assert_eq!(
        pieces,
        [
            (65_536, false),
            (65_536, false),
            (150_000 - 2 * 65_536, true),
            (5, true)
        ]
    );
}

#[tokio::test]
async fn following_waits_for_more_and_ends_with_the_process() {
    let logs = Logs::new();
    logs.write("there\n");
    let writer = Writer::start(&logs, "false");
    let sleeper = std::process::Command::new("sleep").arg("1000").spawn();
    let mut sleeper = sleeper.unwrap();
    drop(writer);
    let process = apptainer_sys::process::PidFd::open(sleeper.id().try_into().unwrap());
    let mut lines = logs.read_of(process).follow(true).lines().await.unwrap();
    let text = async |lines: &mut _| next(lines).await.unwrap().unwrap().text().into_owned();
    assert_eq!(text(&mut lines).await, "there");
    for round in 0..3 {
        let pending = tokio::time::timeout(Duration::from_millis(50), lines.next()).await;
        assert!(pending.is_err(), "there is nothing to read");
        logs.write(format!("out {round}\nhalf "));
        assert!(text(&mut lines).await.ends_with(&format!("out {round}")));
        logs.write_error(format!("err {round}\n"));
        assert_eq!(text(&mut lines).await, format!("err {round}"));
    }
    logs.write("last\nwithout an end");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(text(&mut lines).await, "half last");
    let last = next(&mut lines).await.unwrap().unwrap();
    assert_eq!((&*last.text(), last.is_complete), ("without an end", false));
    assert!(next(&mut lines).await.is_none());
    assert!(next(&mut lines).await.is_none());
}

#[tokio::test]
async fn a_follower_of_removed_logs_reads_them_to_their_end() {
    let logs = Logs::new();
    let mut writer = Writer::of(&logs, 3);
    let lines = logs.read_of(writer.pidfd()).follow(true);
    let lines = lines.lines().await.unwrap();
    writer.child.wait().unwrap();
    super::super::remove(&logs.paths());
    assert!(!logs.out().log().exists());
    assert_eq!(texts(lines).await, ["line 0", "line 1", "line 2"]);
}

#[tokio::test]
async fn a_log_that_somebody_empties_is_followed_from_its_beginning() {
    let logs = Logs::new();
    logs.write("some line\n");
    let mut lines = logs.read().follow(true).lines().await.unwrap();
    assert_eq!(next(&mut lines).await.unwrap().unwrap().text(), "some line");
    let log = File::options().write(true).open(logs.out().log()).unwrap();
    log.set_len(0).unwrap();
    logs.write("new\n");
    assert_eq!(next(&mut lines).await.unwrap().unwrap().text(), "new");
}

#[tokio::test]
async fn what_was_removed_before_it_was_read_is_told_of() {
    let logs = Logs::new();
    logs.write("unfinished");
    let mut lines = logs.read().follow(true).lines().await.unwrap();
    let pending = tokio::time::timeout(Duration::from_millis(50), lines.next()).await;
    assert!(pending.is_err());
    let record = Record {
        base: 30,
        pending: None,
    };
    record
        .write(&File::create(logs.out().record()).unwrap())
        .unwrap();
    fs::write(logs.out().rotated(1), "old\n").unwrap();
    File::options()
        .write(true)
        .open(logs.out().log())
        .unwrap()
        .set_len(0)
        .unwrap();
    logs.write("new\n");
    let skipped = next(&mut lines).await.unwrap();
    assert!(
        matches!(
            skipped,
            Err(LogError::Skipped {
                output: Source::Stdout,
                bytes: 16
            })
        ),
        "{skipped:?}"
    );
    assert_eq!(next(&mut lines).await.unwrap().unwrap().text(), "old");
    assert_eq!(next(&mut lines).await.unwrap().unwrap().text(), "new");
}

fn after(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// `a` to `f`, each a second after the one before, by turns.
fn with_times() -> Logs {
    let logs = Logs::new();
    let [out, err] = logs.paths();
    for (second, letter) in ('a'..='f').enumerate() {
        let path = if second % 2 == 0 { &out } else { &err };
        super::append(path, format!("{letter}\n").as_bytes());
        let end = fs::metadata(path).unwrap().len();
        note(&times_of(path), end, after(second as u64)).unwrap();
    }
    logs
}

#[tokio::test]
async fn with_times_lines_come_in_their_order() {
    let logs = with_times();
    let lines = all(logs.read().timestamps(true).lines().await.unwrap()).await;
    let texts: String = lines.iter().map(|line| line.text()).collect();
    assert_eq!(texts, "abcdef");
    let times: Vec<_> = lines.iter().map(|line| line.at.unwrap()).collect();
    assert_eq!(times, (0..6).map(after).collect::<Vec<_>>());
    let without = all(logs.read().lines().await.unwrap()).await;
    assert!(without.iter().all(|line| line.at.is_none()));
}

#[tokio::test]
async fn what_was_written_before_a_time_can_be_left_out() {
    let logs = with_times();
    for (since, expected) in [(0, "abcdef"), (3, "def"), (5, "f"), (6, "")] {
        let lines = logs.read().since(after(since)).lines().await.unwrap();
        assert_eq!(texts(lines).await.concat(), expected);
    }
    let lines = logs.read().since(after(1)).tail(1).lines().await.unwrap();
    assert_eq!(texts(lines).await.concat(), "ef");
}

#[tokio::test]
async fn what_has_no_mark_yet_is_seen_now() {
    let logs = with_times();
    let now = SystemTime::now();
    logs.write("g\n");
    let lines = logs.read().timestamps(true).lines().await.unwrap();
    let last = all(lines).await.pop().unwrap();
    assert_eq!(last.text(), "g");
    assert!(last.at.unwrap() >= now);
}

#[tokio::test]
async fn times_that_are_not_kept_are_none_and_no_bound() {
    let logs = Logs::new();
    logs.write("a\n");
    let lines = all(logs.read().timestamps(true).lines().await.unwrap()).await;
    assert_eq!(lines[0].at, None);
    let mut lines = logs.read().since(after(0)).lines().await.unwrap();
    let error = next(&mut lines).await.unwrap().unwrap_err();
    assert!(matches!(error, LogError::NoTimes { .. }), "{error}");
    assert!(next(&mut lines).await.is_none());
}
