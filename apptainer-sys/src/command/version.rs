//! `apptainer version`.

use super::options::options;

options! {
    /// Prints the version: `apptainer version`.
    pub command PrintVersion = ["version"] {
        groups {}
        positional {}
        flags {}
    }
}

impl PrintVersion {
    /// The command.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }
}
