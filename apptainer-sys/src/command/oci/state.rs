//! `apptainer oci state`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Shows a container's state as JSON, as root: `apptainer oci state ID`.
    pub command State = ["oci", "state"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {
            /// A socket that is told of changes.
            sync_socket: value(PathBuf) = "--sync-socket";
        }
    }
}

impl State {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
