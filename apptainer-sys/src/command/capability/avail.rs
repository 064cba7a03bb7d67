//! `apptainer capability avail`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Explains capabilities: `apptainer capability avail [CAPABILITIES]`.
    pub command Avail = ["capability", "avail"] {
        groups {}
        positional {
            capabilities: Option<OsString>,
        }
        flags {}
    }
}

impl Avail {
    /// All of them.
    pub fn all() -> Self {
        Self::unset()
    }

    /// These, separated by commas.
    pub fn of(capabilities: impl Into<OsString>) -> Self {
        Self {
            capabilities: Some(capabilities.into()),
            ..Self::unset()
        }
    }
}
