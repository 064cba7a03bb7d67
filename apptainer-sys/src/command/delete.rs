//! `apptainer delete`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Deletes an image from a library: `apptainer delete URI`.
    ///
    /// It asks on the terminal unless [`force`](Delete::force) is set.
    pub command Delete = ["delete"] {
        groups {}
        positional {
            uri: OsString,
        }
        flags {
            /// The architecture, in Go's words: `amd64`, `arm64`.
            arch: value(String) = "--arch";
            /// Does not ask.
            force: switch = "--force";
            /// The library to delete from.
            library: value(String) = "--library";
            /// Speaks HTTP to the library.
            no_https: switch = "--no-https";
            /// Seconds to wait for an answer; 15 otherwise.
            timeout: value(u32) = "--timeout";
        }
    }
}

impl Delete {
    /// Deletes what `uri` names: `library://user/collection/image:tag`.
    pub fn new(uri: impl Into<OsString>) -> Self {
        Self {
            uri: uri.into(),
            ..Self::unset()
        }
    }
}
