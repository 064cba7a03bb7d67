//! `apptainer oci pause`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Freezes a container, as root: `apptainer oci pause ID`.
    pub command Pause = ["oci", "pause"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {}
    }
}

impl Pause {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
