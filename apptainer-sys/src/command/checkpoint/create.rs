//! `apptainer checkpoint create`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Makes room for a checkpoint: `apptainer checkpoint create NAME`.
    pub command Create = ["checkpoint", "create"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {}
    }
}

impl Create {
    /// A checkpoint `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
