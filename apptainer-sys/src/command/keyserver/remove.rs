//! `apptainer keyserver remove`.

use std::ffi::OsString;

use super::KeyserverOptions;
use crate::command::options::options;

options! {
    /// Removes a key server: `apptainer keyserver remove [REMOTE] URL`.
    pub command Remove = ["keyserver", "remove"] since Keyservers under keyserver: KeyserverOptions {
        groups {}
        positional {
            remote: Option<OsString>,
            url: OsString,
        }
        flags {}
    }
}

impl Remove {
    /// Removes the server at `url` from the remote in use.
    pub fn new(url: impl Into<OsString>) -> Self {
        Self {
            url: url.into(),
            ..Self::unset()
        }
    }

    /// Removes it from another remote.
    pub fn from_remote(remote: impl Into<OsString>, url: impl Into<OsString>) -> Self {
        Self {
            remote: Some(remote.into()),
            url: url.into(),
            ..Self::unset()
        }
    }
}
