//! `apptainer key search`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Searches a key server: `apptainer key search TEXT`.
    pub command Search = ["key", "search"] {
        groups {}
        positional {
            text: OsString,
        }
        flags {
            /// With all that is known of each.
            long_list: switch = "--long-list";
            /// The key server.
            url: value(String) = "--url";
        }
    }
}

impl Search {
    /// Searches for a name, an address, or a fingerprint.
    pub fn new(text: impl Into<OsString>) -> Self {
        Self {
            text: text.into(),
            ..Self::unset()
        }
    }
}
