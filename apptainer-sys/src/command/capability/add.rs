//! `apptainer capability add`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Grants capabilities, as root: `apptainer capability add CAPABILITIES`.
    pub command Add = ["capability", "add"] {
        groups {}
        positional {
            capabilities: OsString,
        }
        flags {
            /// Of this group.
            group: value(String) = "--group";
            /// Of this user.
            user: value(String) = "--user";
        }
    }
}

impl Add {
    /// Grants these, separated by commas: `CAP_NET_RAW,CAP_CHOWN`.
    pub fn new(capabilities: impl Into<OsString>) -> Self {
        Self {
            capabilities: capabilities.into(),
            ..Self::unset()
        }
    }
}
