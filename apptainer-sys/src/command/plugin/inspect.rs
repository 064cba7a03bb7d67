//! `apptainer plugin inspect`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Shows what a plugin says of itself: `apptainer plugin inspect NAME|FILE`.
    pub command Inspect = ["plugin", "inspect"] {
        groups {}
        positional {
            plugin: OsString,
        }
        flags {}
    }
}

impl Inspect {
    /// One that is installed, or a file.
    pub fn new(plugin: impl Into<OsString>) -> Self {
        Self {
            plugin: plugin.into(),
            ..Self::unset()
        }
    }
}
