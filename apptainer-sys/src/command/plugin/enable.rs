//! `apptainer plugin enable`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Switches a plugin on: `apptainer plugin enable NAME`.
    pub command Enable = ["plugin", "enable"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {}
    }
}

impl Enable {
    /// The plugin `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
