//! `apptainer oci run`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::LogFormat;
use crate::command::options::options;

options! {
    /// Creates a container, starts it and deletes it at its end, as root: `apptainer oci run --bundle BUNDLE ID`.
    pub command Run = ["oci", "run"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {
            /// The bundle.
            bundle: value(PathBuf) = "--bundle";
            /// How output is written down; `kubernetes` otherwise.
            log_format: value(LogFormat) = "--log-format";
            /// Where output is written down.
            log_path: value(PathBuf) = "--log-path";
            /// Writes the pid to this file.
            pid_file: value(PathBuf) = "--pid-file";
            /// A socket that is told of changes.
            sync_socket: value(PathBuf) = "--sync-socket";
        }
    }
}

impl Run {
    /// The container `id` from `bundle`.
    pub fn new(bundle: impl Into<PathBuf>, id: impl Into<OsString>) -> Self {
        Self {
            bundle: Some(bundle.into()),
            id: id.into(),
            ..Self::unset()
        }
    }
}
