//! `apptainer remote use`.

use std::ffi::OsString;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Puts a remote to use: `apptainer remote use NAME`.
    pub command Use = ["remote", "use"] under remote: RemoteOptions {
        groups {}
        positional {
            name: OsString,
        }
        flags {
            /// Lets users choose no other (root only).
            exclusive: switch = "--exclusive";
            /// In the installation's configuration (root only).
            global: switch = "--global";
        }
    }
}

impl Use {
    /// Uses the remote `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
