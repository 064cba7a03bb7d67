//! `apptainer capability add`.

use crate::command::Capability;
use crate::command::options::{Joined, options};

options! {
    /// Grants capabilities, as root: `apptainer capability add CAPABILITIES`.
    pub command Add = ["capability", "add"] {
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

impl Add {
    /// Grants these.
    pub fn new(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self {
            capabilities: Joined(capabilities.into_iter().collect()),
            ..Self::unset()
        }
    }
}
