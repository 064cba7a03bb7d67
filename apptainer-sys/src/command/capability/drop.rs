//! `apptainer capability drop`.

use crate::command::Capability;
use crate::command::options::{Joined, options};

options! {
    /// Takes capabilities back, as root: `apptainer capability drop CAPABILITIES`.
    pub command Drop = ["capability", "drop"] {
        groups {}
        positional {
            capabilities: Joined<Capability>,
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
    /// Takes these back.
    pub fn new(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self {
            capabilities: Joined(capabilities.into_iter().collect()),
            ..Self::unset()
        }
    }
}
