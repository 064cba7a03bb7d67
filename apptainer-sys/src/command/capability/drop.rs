//! `apptainer capability drop`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Takes capabilities back, as root: `apptainer capability drop CAPABILITIES`.
    pub command Drop = ["capability", "drop"] {
        groups {}
        positional {
            capabilities: OsString,
        }
        flags {
            /// Of this group.
            group: value(String) = "--group";
            /// Of this user.
            user: value(String) = "--user";
        }
    }
}

impl Drop {
    /// Takes these back, separated by commas.
    pub fn new(capabilities: impl Into<OsString>) -> Self {
        Self {
            capabilities: capabilities.into(),
            ..Self::unset()
        }
    }
}
