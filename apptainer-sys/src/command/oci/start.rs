//! `apptainer oci start`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Starts a container that was created, as root: `apptainer oci start ID`.
    pub command Start = ["oci", "start"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {}
    }
}

impl Start {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
