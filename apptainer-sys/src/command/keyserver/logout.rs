//! `apptainer keyserver logout`.

use std::ffi::OsString;

use super::KeyserverOptions;
use crate::command::options::options;

options! {
    /// Logs out of a key server: `apptainer keyserver logout URL`.
    pub command Logout = ["keyserver", "logout"] since Keyservers under keyserver: KeyserverOptions {
        groups {}
        positional {
            url: OsString,
        }
        flags {}
    }
}

impl Logout {
    /// Logs out of the server at `url`.
    pub fn new(url: impl Into<OsString>) -> Self {
        Self {
            url: url.into(),
            ..Self::unset()
        }
    }
}
