//! The last lines.

use std::fs::{self, File};

use proptest::prelude::*;

use super::super::log::Log;
use super::super::record::Record;
use super::super::tail::{by_blocks, tail};
use super::Logs;

/// The obvious way.
fn naive(text: &[u8], start: usize, end: usize, lines: usize) -> usize {
    let mut starts = vec![start];
    for place in start + 1..end {
        if text[place - 1] == b'\n' {
            starts.push(place);
        }
    }
    if lines == 0 || start == end {
        return end;
    }
    starts[starts.len().saturating_sub(lines)]
}

/// An output with these bytes, of which the first are in rotated files that end there.
fn output(text: &[u8], cuts: &[usize]) -> (Logs, Log) {
    let logs = Logs::in_memory();
    let mut from = 0;
    for (index, cut) in cuts.iter().enumerate() {
        let number = u32::try_from(cuts.len() - index).unwrap();
        fs::write(logs.out().rotated(number), &text[from..*cut]).unwrap();
        from = *cut;
    }
    logs.write(&text[from..]);
    let record = Record {
        base: from as u64,
        pending: None,
    };
    record
        .write(&File::create(logs.out().record()).unwrap())
        .unwrap();
    let log = Log::new(logs.out().log().to_owned());
    (logs, log)
}

proptest! {
    #[test]
    fn they_begin_where_counting_from_the_front_says(
        text in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'\n')], 0..60),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        bounds in any::<[prop::sample::Index; 2]>(),
        lines in 0..20_usize,
        block in 1..20_u64,
    ) {
        let place = |index: &prop::sample::Index| index.index(text.len() + 1);
        let mut cuts: Vec<usize> = cuts.iter().map(place).collect();
        cuts.sort_unstable();
        let mut bounds = bounds.each_ref().map(place);
        bounds.sort_unstable();
        let [start, end] = bounds;
        let (_logs, mut log) = output(&text, &cuts);
        let found = by_blocks(&mut log, start as u64, end as u64, lines as u64, block).unwrap();
        prop_assert_eq!(found, naive(&text, start, end, lines) as u64);
    }
}

#[test]
fn they_are_found_far_back() {
    let text = "some line\n".repeat(100_000);
    let (_logs, mut log) = output(text.as_bytes(), &[250_000, 777_777]);
    let end = text.len() as u64;
    for lines in [1, 10, 30_000, 99_999, 100_000] {
        assert_eq!(tail(&mut log, 0, end, lines).unwrap(), end - lines * 10);
    }
    assert_eq!(tail(&mut log, 0, end, 100_001).unwrap(), 0);
}

#[test]
fn where_some_are_gone_they_begin_with_the_oldest_that_is_left() {
    let text = b"one\ntwo\nthree\nfour\n";
    let (logs, mut log) = output(text, &[4, 8]);
    fs::remove_file(logs.out().rotated(2)).unwrap();
    assert_eq!(tail(&mut log, 0, 19, 10).unwrap(), 4);
    assert_eq!(tail(&mut log, 0, 19, 2).unwrap(), 8);
}
