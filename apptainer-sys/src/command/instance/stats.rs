//! `apptainer instance stats`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Shows what an instance uses: `apptainer instance stats NAME`.
    ///
    /// The instance must run in a cgroup of its own. Without
    /// [`no_stream`](Stats::no_stream) or [`json`](Stats::json) it does not end.
    pub command Stats = ["instance", "stats"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {
            /// Once, as JSON.
            json: switch = "--json";
            /// Once.
            no_stream: switch = "--no-stream";
            /// Of this user (root only).
            user: value(String) = "--user";
        }
    }
}

impl Stats {
    /// Of the instance `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
