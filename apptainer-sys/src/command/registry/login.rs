//! `apptainer registry login`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RegistryOptions;
use crate::command::options::options;

options! {
    /// Logs in to a registry: `apptainer registry login URI`.
    pub command Login = ["registry", "login"] since Registries under registry: RegistryOptions {
        groups {}
        positional {
            uri: OsString,
        }
        flags {
            /// The file to keep the credentials in, in Docker's format.
            authfile: value(PathBuf) = "--authfile" since Authfile;
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
    /// Logs in to the registry `uri`: `docker://ghcr.io`.
    pub fn new(uri: impl Into<OsString>) -> Self {
        Self {
            uri: uri.into(),
            ..Self::unset()
        }
    }
}
