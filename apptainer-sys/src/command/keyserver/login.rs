//! `apptainer keyserver login`.

use std::ffi::OsString;

use super::KeyserverOptions;
use crate::command::options::options;

options! {
    /// Logs in to a key server: `apptainer keyserver login URL`.
    pub command Login = ["keyserver", "login"] since Keyservers under keyserver: KeyserverOptions {
        groups {}
        positional {
            url: OsString,
        }
        flags {
            /// The password; everybody on the machine can see it while this runs.
            password: value(String) = "--password";
            /// Reads the password from standard input.
            password_stdin: switch = "--password-stdin";
            /// The user.
            username: value(String) = "--username";
        }
    }
}

impl Login {
    /// Logs in to the server at `url`.
    pub fn new(url: impl Into<OsString>) -> Self {
        Self {
            url: url.into(),
            ..Self::unset()
        }
    }
}
