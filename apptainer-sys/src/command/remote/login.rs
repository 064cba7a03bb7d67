//! `apptainer remote login`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Logs in to a remote: `apptainer remote login [NAME]`.
    pub command Login = ["remote", "login"] under remote: RemoteOptions {
        groups {}
        positional {
            name: Option<OsString>,
        }
        flags {
            /// Speaks HTTP to it.
            insecure: switch = "--insecure";
            /// The password; everybody on the machine can see it while this runs.
            password: value(String) = "--password";
            /// Reads the password from standard input.
            password_stdin: switch = "--password-stdin";
            /// A file with an access token.
            tokenfile: value(PathBuf) = "--tokenfile";
            /// The user.
            username: value(String) = "--username";
        }
    }
}

impl Login {
    /// Logs in to the remote in use.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }

    /// Logs in to the remote `name`.
    pub fn to(name: impl Into<OsString>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::unset()
        }
    }
}
