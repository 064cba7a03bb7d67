//! Chunks put together.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::output::Omission;

/// A chunk smaller than this may be a small part of the memory that it was read into.
const SMALL: usize = 16 * 1024;

/// Bytes of one output.
pub(super) enum Collected {
    /// All of them. A single chunk is passed on as it is, unless it is small.
    Whole { first: Bytes, rest: BytesMut },
    /// So many from the beginning, and so many from the end.
    Ends {
        head: Vec<u8>,
        tail: VecDeque<u8>,
        most: [usize; 2],
        omitted: u64,
    },
}

impl Collected {
    /// Of no more than this, if there is a limit.
    pub(super) fn new(limit: Option<usize>) -> Self {
        match limit {
            None => Self::Whole {
                first: Bytes::new(),
                rest: BytesMut::new(),
            },
            Some(limit) => Self::Ends {
                head: Vec::new(),
                tail: VecDeque::new(),
                most: [limit.div_ceil(2), limit / 2],
                omitted: 0,
            },
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Whole { first, .. } if first.is_empty() => *first = bytes,
            Self::Whole { first, rest } => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                rest.extend_from_slice(&bytes);
            }
            Self::Ends {
                head,
                tail,
                most: [most_head, most_tail],
                omitted,
            } => {
                let (first, rest) = bytes.split_at(bytes.len().min(*most_head - head.len()));
                head.extend_from_slice(first);
                let (skipped, last) = rest.split_at(rest.len().saturating_sub(*most_tail));
                let excess = (tail.len() + last.len()).saturating_sub(*most_tail);
                tail.drain(..excess);
                tail.extend(last);
                *omitted += (skipped.len() + excess) as u64;
            }
        }
    }

    pub(super) fn finish(self) -> (Bytes, Option<Omission>) {
        match self {
            Self::Whole { first, rest } if rest.is_empty() && first.len() < SMALL => {
                (Bytes::copy_from_slice(&first), None)
            }
            Self::Whole { first, rest } if rest.is_empty() => (first, None),
            Self::Whole { rest, .. } => (rest.freeze(), None),
            Self::Ends {
                mut head,
                tail,
                omitted,
                ..
            } => {
                let omission = Omission {
                    at: head.len(),
                    bytes: omitted,
                };
                head.extend(tail);
                (head.into(), (omitted > 0).then_some(omission))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(limit: Option<usize>, chunks: &[&'static str]) -> (String, Option<(usize, u64)>) {
        let mut collected = Collected::new(limit);
        for chunk in chunks {
            collected.push(Bytes::from_static(chunk.as_bytes()));
        }
        let (bytes, omission) = collected.finish();
        let omission = omission.map(|omission| (omission.at, omission.bytes));
        (String::from_utf8(bytes.to_vec()).unwrap(), omission)
    }

    #[test]
    fn without_a_limit_all_is_kept() {
        assert_eq!(collect(None, &[]), (String::new(), None));
        assert_eq!(collect(None, &["one"]), ("one".to_owned(), None));
        assert_eq!(collect(None, &["a", "b", "c"]), ("abc".to_owned(), None));
    }

    #[test]
    fn a_little_does_not_keep_the_memory_that_it_was_read_into() {
        let memory = Bytes::from(vec![7; 32 * 1024]);
        let mut collected = Collected::new(None);
        collected.push(memory.slice(..5));
        let (bytes, _) = collected.finish();
        assert_eq!(bytes, [7; 5][..]);
        assert!(memory.is_unique());
    }

    #[test]
    fn a_limit_that_is_not_passed_leaves_nothing_out() {
        assert_eq!(collect(Some(5), &["ab", "cde"]), ("abcde".to_owned(), None));
        assert_eq!(collect(Some(5), &["abcde"]), ("abcde".to_owned(), None));
    }

    #[test]
    fn beyond_it_beginning_and_end_are_kept_however_it_comes() {
        let expected = ("abcyz".to_owned(), Some((3, 21)));
        let text = "abcdefghijklmnopqrstuvwxyz";
        assert_eq!(collect(Some(5), &[text]), expected);
        for size in 1..26 {
            let cut = |start: usize| &text[start..(start + size).min(26)];
            let chunks: Vec<_> = (0..26).step_by(size).map(cut).collect();
            assert_eq!(collect(Some(5), &chunks), expected, "{size}");
        }
    }

    #[test]
    fn a_limit_of_nothing_counts_all() {
        assert_eq!(
            collect(Some(0), &["abc", "d"]),
            (String::new(), Some((0, 4)))
        );
        assert_eq!(
            collect(Some(1), &["abc", "d"]),
            ("a".to_owned(), Some((1, 3)))
        );
    }
}
