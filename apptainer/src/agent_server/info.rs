//! What a server is.

use std::fmt;

use serde::Deserialize;

use super::AgentServerError;

/// A version of the agent server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ServerVersion {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

impl ServerVersion {
    /// The oldest that is understood.
    const OLDEST: Self = Self::new(1, 43, 0);
    /// The newest that is known.
    const NEWEST: Self = Self::new(1, 58, u64::MAX);
    /// From which on a line can be stopped.
    const STOPS: Self = Self::new(1, 58, 0);

    const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// What `1.58.2` is, or `1.59.0rc1`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit());
            part[..end.unwrap_or(part.len())].parse().ok()
        });
        let (major, minor) = (numbers.next()??, numbers.next()??);
        let patch = numbers.next().flatten().unwrap_or(0);
        Some(Self::new(major, minor, patch))
    }

    /// Whether it is newer than all that this has been tested with.
    pub fn is_newer_than_known(self) -> bool {
        self > Self::NEWEST
    }

    /// Whether it can stop a line that it runs.
    pub(super) fn stops(self) -> bool {
        self >= Self::STOPS
    }

    /// # Errors
    ///
    /// It is too old.
    pub(super) fn check(self) -> Result<(), AgentServerError> {
        if self < Self::OLDEST {
            return Err(AgentServerError::UnsupportedVersion { version: self });
        }
        if self.is_newer_than_known() {
            tracing::warn!(version = %self, "an agent server is newer than all that are known");
        }
        Ok(())
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl<'de> Deserialize<'de> for ServerVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format!("{text:?} is not a version"));
        Self::parse(&text).ok_or_else(unknown)
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its version.
    pub version: ServerVersion,
    /// What it is called.
    #[serde(default)]
    pub title: String,
    /// How long it has been running, in seconds.
    #[serde(default)]
    pub uptime: f64,
    /// How long nothing has been asked of it, in seconds.
    #[serde(default)]
    pub idle_time: f64,
    /// The version of its SDK.
    #[serde(default)]
    pub sdk_version: Option<String>,
    /// The version of its Python, and more of it.
    #[serde(default)]
    pub python_version: Option<String>,
    /// The tools that its agents can use.
    #[serde(default)]
    pub usable_tools: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_the_known_ones_told_from_others() {
        let parse = |text| ServerVersion::parse(text).unwrap();
        assert_eq!(parse("1.58.2"), ServerVersion::new(1, 58, 2));
        assert_eq!(parse("1.59.0rc1"), ServerVersion::new(1, 59, 0));
        assert_eq!(parse("2.0"), ServerVersion::new(2, 0, 0));
        assert_eq!(ServerVersion::parse("unknown"), None);
        assert_eq!(ServerVersion::parse(""), None);
        assert!(parse("1.42.9").check().is_err());
        assert!(parse("1.43.0").check().is_ok());
        assert!(!parse("1.58.99").is_newer_than_known());
        assert!(parse("1.59.0").is_newer_than_known());
        assert!(!parse("1.57.3").stops());
        assert!(parse("1.58.0").stops());
    }
}
