//! `apptainer plugin uninstall`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Removes a plugin: `apptainer plugin uninstall NAME`.
    pub command Uninstall = ["plugin", "uninstall"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {}
    }
}

impl Uninstall {
    /// The plugin `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
