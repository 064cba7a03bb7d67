//! `apptainer search`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Searches a library: `apptainer search QUERY`.
    pub command Search = ["search"] {
        groups {}
        positional {
            query: OsString,
        }
        flags {
            /// Only of this architecture, in Go's words.
            arch: value(String) = "--arch";
            /// The library to search.
            library: value(String) = "--library";
            /// Only images with a signature.
            signed: switch = "--signed";
        }
    }
}

impl Search {
    /// Searches for `query`.
    pub fn new(query: impl Into<OsString>) -> Self {
        Self {
            query: query.into(),
            ..Self::unset()
        }
    }
}
