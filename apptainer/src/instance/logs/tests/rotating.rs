//! Rotation, while others write at full speed.

use std::time::Duration;

use super::super::rotate::Rotation;
use super::super::turn::Turn;
use super::super::{LogSettings, keep};
use super::{Logs, Writer, all, in_time, nobody, numbered};

const SIZE: u64 = 32 * 1024;

fn settings() -> LogSettings {
    LogSettings::default().max_size(SIZE).max_files(1000)
}

/// Waits until so much has been rotated, and until nobody is at it.
async fn rotated(logs: &Logs, number: u32) {
    let path = logs.out().rotated(number);
    in_time(async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn over(logs: &Logs) {
    in_time(async {
        while Turn::new(&logs.out(), 1).unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn a_writer_loses_nothing(logs: &Logs) {
    let writer = Writer::endless(logs);
    let keeper = keep(&settings(), logs.paths(), writer.halt()).unwrap();
    assert!(keeper.is_some());
    rotated(logs, 20).await;
    drop((writer, keeper));
    over(logs).await;
    let text = String::from_utf8(logs.files().concat()).unwrap();
    let count = u32::try_from(text.lines().count()).unwrap();
    assert!(
        text == numbered(0..count),
        "lines are missing, or there twice"
    );
    assert!(logs.text().await == text, "readers see something else");
}

#[tokio::test]
async fn a_writer_at_full_speed_loses_nothing_where_blocks_are_taken_out() {
    let logs = Logs::new();
    assert!(
        Rotation::new(&logs.out(), SIZE, 3).collapses().await,
        "the temporary directory is not on ext4 or XFS"
    );
    a_writer_loses_nothing(&logs).await;
    let files = logs.files();
    let (_, rotated) = files.split_last().unwrap();
    assert!(rotated.iter().all(|file| file.len() as u64 <= SIZE));
}

#[tokio::test]
async fn a_writer_at_full_speed_loses_nothing_where_it_is_halted() {
    let logs = Logs::in_memory();
    assert!(!Rotation::new(&logs.out(), SIZE, 3).collapses().await);
    a_writer_loses_nothing(&logs).await;
    assert!(
        logs.files()
            .iter()
            .all(|file| file.is_empty() || file.ends_with(b"\n"))
    );
}

async fn a_follower_loses_nothing(logs: &Logs) {
    let lines = 60_000;
    let writer = Writer::of(logs, lines);
    let followed = logs.read_of(writer.pidfd()).follow(true);
    let followed = followed.lines().await.unwrap();
    let _keeper = keep(&settings(), logs.paths(), writer.halt()).unwrap();
    let followed = all(followed).await;
    assert!(followed.iter().all(|line| line.is_complete));
    let mut text = String::new();
    for line in &followed {
        text = text + &line.text() + "\n";
    }
    assert!(
        text == numbered(0..lines),
        "lines are missing, or there twice"
    );
    rotated(logs, 2).await;
}

#[tokio::test]
async fn a_follower_loses_nothing_where_blocks_are_taken_out() {
    a_follower_loses_nothing(&Logs::new()).await;
}

#[tokio::test]
async fn a_follower_loses_nothing_where_writers_are_halted() {
    a_follower_loses_nothing(&Logs::in_memory()).await;
}

async fn rotate(logs: &Logs, max_files: u32) {
    let mut rotation = Rotation::new(&logs.out(), 4096, max_files);
    assert!(rotation.rotate(&nobody()).await.unwrap());
}

#[tokio::test]
async fn no_more_files_are_kept_than_were_asked_for() {
    for logs in [Logs::new(), Logs::in_memory()] {
        for round in 0..6 {
            logs.write(numbered(round * 1000..(round + 1) * 1000));
            rotate(&logs, 3).await;
        }
        assert_eq!(logs.files().len(), 4);
        rotate_full(&logs, 1).await;
        assert_eq!(logs.files().len(), 2);
        let text = logs.text().await;
        assert!(numbered(0..7000).ends_with(&text));
        assert!(text.len() > 4096);
    }
}

async fn rotate_full(logs: &Logs, max_files: u32) {
    logs.write(numbered(6000..7000));
    rotate(logs, max_files).await;
}

#[tokio::test]
async fn files_end_with_lines_where_lines_end_in_reach() {
    // Each block ends in the middle of a line, but for the third.
    let logs = Logs::new();
    let mut text = "x".repeat(99) + "\n";
    text = text.repeat(125);
    text.truncate(3 * 4096 - 1);
    text.push('\n');
    logs.write(&text);
    logs.write("y".repeat(3000));
    let mut rotation = Rotation::new(&logs.out(), 4 * 4096, 3);
    assert!(rotation.rotate(&nobody()).await.unwrap());
    assert_eq!(logs.files()[0], text.as_bytes());

    let logs = Logs::in_memory();
    logs.write("whole\n".repeat(2000) + "begun");
    rotate(&logs, 3).await;
    assert!(logs.files()[0].ends_with(b"whole\n"));
    assert_eq!(logs.files()[1], b"begun");
}

#[tokio::test]
async fn a_line_whose_end_is_out_of_reach_goes_on_in_the_next_file() {
    for logs in [Logs::new(), Logs::in_memory()] {
        let text = "x".repeat(100_000);
        logs.write(&text);
        rotate(&logs, 3).await;
        logs.write("y\n");
        assert!(logs.text().await == text.clone() + "y\n");
        assert!(!logs.files()[0].ends_with(b"\n"));
    }
}

#[tokio::test]
async fn only_the_owner_may_read_what_was_rotated() {
    use std::os::unix::fs::PermissionsExt;
    for logs in [Logs::new(), Logs::in_memory()] {
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(logs.out().log(), private).unwrap();
        logs.write(numbered(0..1000));
        rotate(&logs, 3).await;
        for entry in std::fs::read_dir(logs.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert!(
                mode == 0o600 || path.ends_with("x.err"),
                "{path:?}: {mode:o}"
            );
        }
    }
}

#[tokio::test]
async fn one_at_a_time_rotates_a_log() {
    let logs = Logs::new();
    logs.write(numbered(0..1000));
    let turn = Turn::new(&logs.out(), 3).unwrap().unwrap();
    let mut rotation = Rotation::new(&logs.out(), 4096, 3);
    assert!(!rotation.rotate(&nobody()).await.unwrap());
    drop(turn);
    assert!(rotation.rotate(&nobody()).await.unwrap());
}
