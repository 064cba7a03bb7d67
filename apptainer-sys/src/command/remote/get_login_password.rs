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

impl GetLoginPassword {
    /// The command.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }
}
