//! `apptainer remote add`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Adds a remote: `apptainer remote add NAME URI`.
    pub command Add = ["remote", "add"] under remote: RemoteOptions {
        groups {}
        positional {
            name: OsString,
            uri: OsString,
        }
        flags {
            /// In the installation's configuration (root only).
            global: switch = "--global";
            /// Speaks HTTP to it.
            insecure: switch = "--insecure";
            /// Does not make it the one in use.
            no_default: switch = "--no-default" since RemoteNoDefault;
            /// Does not ask for a token.
            no_login: switch = "--no-login";
            /// A file with an access token.
            tokenfile: value(PathBuf) = "--tokenfile";
        }
    }
}

impl Add {
    /// Adds the remote at `uri` as `name`.
    pub fn new(name: impl Into<OsString>, uri: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            uri: uri.into(),
            ..Self::unset()
        }
    }
}
