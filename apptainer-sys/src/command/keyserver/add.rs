//! `apptainer keyserver add`.

use std::ffi::OsString;

use super::KeyserverOptions;
use crate::command::options::options;

options! {
    /// Adds a key server: `apptainer keyserver add [REMOTE] URL`.
    pub command Add = ["keyserver", "add"] since Keyservers under keyserver: KeyserverOptions {
        groups {}
        positional {
            remote: Option<OsString>,
            url: OsString,
        }
        flags {
            /// Speaks HTTP to it.
            insecure: switch = "--insecure";
            /// Its place among the others, from 1; last otherwise.
            order: value(u32) = "--order";
        }
    }
}

impl Add {
    /// Adds the server at `url` to the remote in use.
    pub fn new(url: impl Into<OsString>) -> Self {
        Self {
            url: url.into(),
            ..Self::unset()
        }
    }

    /// Adds it to another remote.
    pub fn to_remote(remote: impl Into<OsString>, url: impl Into<OsString>) -> Self {
        Self {
            remote: Some(remote.into()),
            url: url.into(),
            ..Self::unset()
        }
    }
}
