//! `apptainer oci create`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::LogFormat;
use crate::command::options::options;

options! {
    /// Creates a container, as root: `apptainer oci create --bundle BUNDLE ID`.
    pub command Create = ["oci", "create"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {
            /// The bundle.
            bundle: value(PathBuf) = "--bundle";
            /// Without a process, for a pod.
            empty_process: switch = "--empty-process";
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

impl Create {
    /// The container `id` from `bundle`.
    pub fn new(bundle: impl Into<PathBuf>, id: impl Into<OsString>) -> Self {
        Self {
            bundle: Some(bundle.into()),
            id: id.into(),
            ..Self::unset()
        }
    }
}
