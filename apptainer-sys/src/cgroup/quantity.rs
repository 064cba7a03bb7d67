//! How much: of anything, of CPU time, and which CPUs.

use std::fmt;
use std::str::FromStr;

/// An upper limit, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit<T = u64> {
    /// This much.
    Max(T),
    /// None: the kernel's `max`, and greater than every number.
    Unlimited,
}

impl<T> From<T> for Limit<T> {
    fn from(most: T) -> Self {
        Self::Max(most)
    }
}

/// As the kernel writes it: a number, or `max`.
impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max(most) => write!(f, "{most}"),
            Self::Unlimited => f.write_str("max"),
        }
    }
}

/// An amount of CPU time per time: 1.5 is one and a half CPUs.
///
/// Kept in thousandths of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus {
    millis: u32,
}

impl Cpus {
    /// So many thousandths of a CPU.
    pub const fn from_millis(millis: u32) -> Self {
        Self { millis }
    }

    /// How many thousandths of a CPU it is.
    pub const fn as_millis(self) -> u32 {
        self.millis
    }
}

/// Rounds to thousandths; what is below 0 or not a number becomes 0.
impl From<f64> for Cpus {
    fn from(cpus: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates, which is what is wanted"
        )]
        let millis = (cpus * 1000.0).round() as u32;
        Self { millis }
    }
}

/// As a decimal number without needless zeroes.
impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millis / 1000, self.millis % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Numbers of CPUs or of memory nodes: `0-3,8`.
///
/// Source: "List format" in cpuset(7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CpuList {
    /// In order, apart from each other, none empty.
    ranges: Vec<(u32, u32)>,
}

/// Text that is not a list of numbers and ranges.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a list of numbers and ranges, as 0-3,8 is")]
pub struct ParseCpuListError {
    /// What was given.
    pub text: String,
}

impl CpuList {
    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u32) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Each number, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        Self { ranges: joined }
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self::from_ranges(numbers.into_iter().map(|number| (number, number)).collect())
    }
}

impl FromStr for CpuList {
    type Err = ParseCpuListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (range.0 <= range.1).then_some(range)
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let ranges: Option<Vec<_>> = text.trim().split(',').map(range).collect();
        ranges
            .map(Self::from_ranges)
            .ok_or_else(|| ParseCpuListError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_more_than_any() {
        assert!(Limit::Unlimited > Limit::Max(u64::MAX));
        assert!(Limit::Max(2) > Limit::Max(1));
        assert_eq!(Limit::<u64>::Unlimited.to_string(), "max");
    }

    #[test]
    fn parts_of_a_cpu_are_decimal() {
        let cases = [
            (2.0, "2"),
            (1.5, "1.5"),
            (0.05, "0.05"),
            (0.001, "0.001"),
            (-1.0, "0"),
        ];
        for (cpus, text) in cases {
            assert_eq!(Cpus::from(cpus).to_string(), text);
        }
        assert_eq!(Cpus::from(f64::NAN), Cpus::from_millis(0));
    }

    #[test]
    fn lists_are_shown_in_their_shortest_form() {
        let cases = [
            ("0-3,8", "0-3,8"),
            ("8,0,1,2", "0-2,8"),
            ("1-4,2-6,7", "1-7"),
            ("\n", ""),
        ];
        for (text, shortest) in cases {
            let list: CpuList = text.parse().unwrap();
            assert_eq!(list.to_string(), shortest);
        }
        let list = CpuList::from_iter([3, 1, 2]);
        assert_eq!(list.iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(list.contains(2) && !list.contains(4));
        for text in ["a", "1-", "3-1", "1,,2", "1 2"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in "[0-9,-]{0,24}") {
            if let Ok(list) = text.parse::<CpuList>() {
                assert_eq!(list.to_string().parse::<CpuList>().unwrap(), list);
            }
        }
    }
}
