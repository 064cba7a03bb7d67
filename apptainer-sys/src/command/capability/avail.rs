//! `apptainer capability avail`.

use crate::command::Capability;
use crate::command::options::{Joined, options};

options! {
    /// Explains capabilities: `apptainer capability avail [CAPABILITIES]`.
    pub command Avail = ["capability", "avail"] {
        groups {}
        positional {
            capabilities: Joined<Capability>,
        }
        flags {}
    }
}

impl Avail {
    /// All of them.
    pub fn all() -> Self {
        Self::unset()
    }

    /// These.
    pub fn of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self {
            capabilities: Joined(capabilities.into_iter().collect()),
            ..Self::unset()
        }
    }
}
