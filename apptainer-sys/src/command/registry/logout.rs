//! `apptainer registry logout`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RegistryOptions;
use crate::command::options::options;

options! {
    /// Logs out of a registry: `apptainer registry logout URI`.
    pub command Logout = ["registry", "logout"] since Registries under registry: RegistryOptions {
        groups {}
        positional {
            uri: OsString,
        }
        flags {
            /// The file to keep the credentials in, in Docker's format.
            authfile: value(PathBuf) = "--authfile" since Authfile;
        }
    }
}

impl Logout {
    /// Logs out of the registry `uri`.
    pub fn new(uri: impl Into<OsString>) -> Self {
        Self {
            uri: uri.into(),
            ..Self::unset()
        }
    }
}
