//! `apptainer checkpoint delete`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Deletes a checkpoint: `apptainer checkpoint delete NAME`.
    pub command Delete = ["checkpoint", "delete"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {}
    }
}

impl Delete {
    /// The checkpoint `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
