//! `apptainer remote remove`.

use std::ffi::OsString;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Removes a remote: `apptainer remote remove NAME`.
    pub command Remove = ["remote", "remove"] under remote: RemoteOptions {
        groups {}
        positional {
            name: OsString,
        }
        flags {
            /// In the installation's configuration (root only).
            global: switch = "--global";
        }
    }
}

impl Remove {
    /// Removes the remote `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
