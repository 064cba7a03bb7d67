//! Rotations that were cut off, at each of their steps.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::super::files::times_of;
use super::super::rotate::Rotation;
use super::super::times::{copy_until, note};
use super::super::turn::Turn;
use super::{Logs, nobody, numbered};

const CUT: u64 = 2 * 4096;

/// Goes through a turn up to a step; says whether it has come that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Began,
    Copied,
    Excluded,
    Announced,
    HalfMarked,
    Marked,
    /// Only where writers are halted: what is left is at the beginning, and at the end.
    Moved,
    Taken,
    MadeRoom,
    MovedTimes,
    Renamed,
    Trimmed,
    Finished,
}

const STEPS: [Step; 13] = [
    Step::Began,
    Step::Copied,
    Step::Excluded,
    Step::Announced,
    Step::HalfMarked,
    Step::Marked,
    Step::Moved,
    Step::Taken,
    Step::MadeRoom,
    Step::MovedTimes,
    Step::Renamed,
    Step::Trimmed,
    Step::Finished,
];

/// A turn that is killed after a step: only what is on disk is left of it.
fn turn_until(logs: &Logs, step: Step, collapses: bool) {
    let files = logs.out();
    let turn = Turn::new(&files, 2).unwrap().unwrap();
    let cut = if collapses {
        CUT
    } else {
        turn.line_cut().unwrap()
    };
    let next = files.next();
    if step == Step::Began {
        return;
    }
    turn.copy(0, cut).unwrap();
    if step == Step::Copied {
        return;
    }
    let _excluded = turn.exclude().unwrap();
    if step == Step::Excluded {
        return;
    }
    let pending = turn.announce(cut).unwrap();
    if step == Step::Announced {
        return;
    }
    if step == Step::HalfMarked {
        // The record does not say so yet.
        let log = File::options().write(true).open(files.log()).unwrap();
        return pending.marker.write(&log).unwrap();
    }
    let pending = turn.mark(pending).unwrap();
    if step == Step::Marked {
        return;
    }
    if step == Step::Moved {
        let text = fs::read(files.log()).unwrap();
        let (_, left) = text.split_at(usize::try_from(cut).unwrap());
        let log = File::options().write(true).open(files.log()).unwrap();
        if !collapses {
            assert!(!left.is_empty());
            log.write_all_at(left, 0).unwrap();
        }
        return;
    }
    if collapses {
        turn.collapse(pending).unwrap();
    } else {
        turn.truncate(pending).unwrap();
    }
    if step == Step::Taken {
        return;
    }
    if step == Step::Finished {
        return turn.finish().unwrap();
    }
    turn.make_room().unwrap();
    if step == Step::MadeRoom {
        return;
    }
    let first = files.rotated(1);
    fs::rename(times_of(&next), times_of(&first)).unwrap();
    if step == Step::MovedTimes {
        return;
    }
    fs::rename(next, first).unwrap();
    if step == Step::Renamed {
        return;
    }
    super::super::times::drop_until(&times_of(files.log()), cut).unwrap();
}

fn mark(logs: &Logs, end: usize) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(end as u64);
    note(&times_of(logs.out().log()), end as u64, time).unwrap();
}

#[tokio::test]
async fn whatever_the_step_nothing_is_lost_or_there_twice() {
    for (step, collapses) in STEPS
        .iter()
        .flat_map(|step| [(*step, true), (*step, false)])
    {
        let logs = if collapses {
            Logs::new()
        } else {
            Logs::in_memory()
        };
        // Enough that there is room for both files that are kept, and some left.
        let mut text = numbered(0..1500) + "begun ";
        logs.write(&text);
        mark(&logs, 1000);
        let first = text.len();
        mark(&logs, first);
        turn_until(&logs, step, collapses);
        assert!(
            logs.text().await == text,
            "{step:?}, {collapses}: readers meanwhile"
        );

        // Whoever was not halted goes on.
        for (numbers, what) in [(1500..1600, "little"), (1600..9000, "much")] {
            let more = numbered(numbers);
            logs.write(&more);
            text += &more;
            assert!(
                logs.text().await == text,
                "{step:?}, {collapses}: and {what} more"
            );
        }
        mark(&logs, text.len());

        let mut rotation = Rotation::new(&logs.out(), CUT, 2);
        assert!(rotation.rotate(&nobody()).await.unwrap());
        assert!(logs.text().await == text, "{step:?}, {collapses}: mended");
        assert!(
            logs.files().concat() == text.as_bytes(),
            "{step:?}, {collapses}: in files"
        );
        assert!(!logs.out().next().exists());
        let turn = Turn::new(&logs.out(), 2).unwrap().unwrap();
        assert_eq!(turn.pending().unwrap(), None);

        // The times are still those of their lines.
        let lines = logs.read().timestamps(true).lines().await.unwrap();
        let bounds = [1000, first, text.len()];
        let mut end = 0;
        for line in super::all(lines).await {
            end += line.bytes.len() + 1;
            let bound = bounds.into_iter().find(|bound| *bound >= end).unwrap();
            let at = line
                .at
                .unwrap()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            assert_eq!(
                at.as_secs(),
                bound as u64,
                "{step:?}, {collapses}: {}",
                line.text()
            );
        }
    }
}

#[tokio::test]
async fn room_is_made_from_wherever_that_was_cut_off() {
    // Of three: as it is before, with the third replaced, and with the second moved.
    for present in [&[1, 2, 3][..], &[1, 3], &[2, 3], &[1, 2], &[1], &[2], &[]] {
        let logs = Logs::new();
        for number in present {
            fs::write(logs.out().rotated(*number), number.to_string()).unwrap();
            fs::write(times_of(&logs.out().rotated(*number)), "").unwrap();
        }
        let turn = Turn::new(&logs.out(), 3).unwrap().unwrap();
        turn.make_room().unwrap();
        turn.make_room().unwrap();
        let left: Vec<u32> = (1..=4)
            .filter(|number| logs.out().rotated(*number).exists())
            .collect();
        let expected: &[u32] = match present {
            [1, 2, 3] | [1 | 2, 3] | [1, 2] => &[2, 3],
            [1 | 2] => &[2],
            _ => &[],
        };
        assert_eq!(left, expected, "of {present:?}");
    }
}

#[test]
fn times_are_copied_again_as_they_were() {
    let logs = Logs::new();
    mark(&logs, 10);
    mark(&logs, 20);
    let [index, to] = [logs.out().log().to_owned(), logs.out().next()].map(|path| times_of(&path));
    copy_until(&index, 5, &to).unwrap();
    copy_until(&index, 15, &to).unwrap();
    assert_eq!(fs::read(to).unwrap(), fs::read(index).unwrap());
}
