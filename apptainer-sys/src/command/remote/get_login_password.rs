//! `apptainer remote get-login-password`.

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Prints the remote's password for its registry: `apptainer remote get-login-password`.
    pub command GetLoginPassword = ["remote", "get-login-password"] under remote: RemoteOptions {
        groups {}
        positional {}
        flags {}
    }
}
