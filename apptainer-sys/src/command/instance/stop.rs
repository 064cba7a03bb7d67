//! `apptainer instance stop`.

use std::ffi::OsString;

use crate::command::options::options;
use crate::process::Signal;

options! {
    /// Stops instances: `apptainer instance stop GLOB`.
    pub command Stop = ["instance", "stop"] {
        groups {}
        positional {
            glob: Option<OsString>,
        }
        flags {
            /// Every instance, whatever its name.
            every: switch = "--all";
            /// Kills at once.
            force: switch = "--force";
            /// The signal to send; `SIGINT` otherwise.
            signal: value(Signal) = "--signal";
            /// Seconds until it kills; 10 otherwise.
            timeout: value(u32) = "--timeout";
            /// Of this user (root only).
            user: value(String) = "--user";
        }
    }
}

impl Stop {
    /// Every instance of the user.
    pub fn all() -> Self {
        Self {
            every: true,
            ..Self::unset()
        }
    }

    /// Instances whose name matches `glob`.
    pub fn matching(glob: impl Into<OsString>) -> Self {
        Self {
            glob: Some(glob.into()),
            ..Self::unset()
        }
    }
}
