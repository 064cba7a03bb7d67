//! `apptainer oci kill`.

use std::ffi::OsString;

use crate::command::options::options;
use crate::process::Signal;

options! {
    /// Sends a signal to a container, as root: `apptainer oci kill ID`.
    pub command Kill = ["oci", "kill"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {
            /// Sends `SIGKILL`.
            force: switch = "--force";
            /// The signal; `SIGTERM` otherwise.
            signal: value(Signal) = "--signal";
            /// Seconds until it kills.
            timeout: value(u32) = "--timeout";
        }
    }
}

impl Kill {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
