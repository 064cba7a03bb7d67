//! Which git is run.

use std::fmt;

/// Which git answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GitProgram {
    /// The container's own, as its user, with all that it is configured to do.
    Image {
        /// As `git --version` has it: `2.47.3`.
        version: String,
    },
    /// The host's, on files that the container shares with the host. It runs nothing that the
    /// repository names: no hooks, no filters, no other program.
    Host {
        /// As `git --version` has it: `2.47.3`.
        version: String,
    },
}

impl GitProgram {
    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Self::Image { version } | Self::Host { version } => version,
        }
    }
}

impl fmt::Display for GitProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { version } => write!(f, "git {version} of the image"),
            Self::Host { version } => write!(f, "git {version} of the host"),
        }
    }
}

/// What `git --version` says, without the words before it.
pub(super) fn version(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let said = said.lines().next().unwrap_or_default().trim();
    said.trim_start_matches("git version ").to_owned()
}
