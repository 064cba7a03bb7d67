//! `apptainer oci delete`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Deletes a container, as root: `apptainer oci delete ID`.
    pub command Delete = ["oci", "delete"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {}
    }
}

impl Delete {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
