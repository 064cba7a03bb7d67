//! `apptainer oci update`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Changes a container's limits, as root: `apptainer oci update ID`.
    pub command Update = ["oci", "update"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {
            /// The limits as JSON; standard input otherwise.
            from_file: value(PathBuf) = "--from-file";
        }
    }
}

impl Update {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
