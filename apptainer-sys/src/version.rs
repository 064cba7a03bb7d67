//! Apptainer's version numbers.

use std::fmt;
use std::str::FromStr;

/// A released version of Apptainer: `1.4.5`.
///
/// What follows the third number (`-rc.1`, `-1.el9`, `+60-gabcdef`) names a
/// build of that version and takes no part in comparisons.
///
/// ```
/// use apptainer_sys::Version;
///
/// let version: Version = "1.4.5-2.el9".parse()?;
/// assert!(version >= Version::new(1, 4, 0));
/// # Ok::<(), apptainer_sys::ParseVersionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not a version number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {text:?} as a version: expected three numbers, such as 1.4.5")]
pub struct ParseVersionError {
    text: String,
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .trim()
            .split(['-', '+', '~'])
            .next()
            .unwrap_or_default();
        let mut numbers = numbers.splitn(3, '.').map(str::parse::<u16>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => {
                Ok(Self::new(major, minor, patch))
            }
            _ => Err(ParseVersionError {
                text: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_builds_are_ignored() {
        for text in [
            "1.4.5",
            "1.4.5\n",
            "1.4.5-rc.1",
            "1.4.5-2.el9",
            "1.4.5+60-g1b2c3d",
        ] {
            assert_eq!(text.parse(), Ok(Version::new(1, 4, 5)), "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "1",
            "1.4",
            "1.4.x",
            "apptainer",
            "1.4.99999999",
            "-1.2.3",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_not_by_text() {
        assert!(Version::new(1, 10, 0) > Version::new(1, 9, 9));
    }
}
