//! `apptainer plugin disable`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Switches a plugin off: `apptainer plugin disable NAME`.
    pub command Disable = ["plugin", "disable"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {}
    }
}

impl Disable {
    /// The plugin `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
