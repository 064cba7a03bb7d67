//! `apptainer remote logout`.

use std::ffi::OsString;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Logs out of a remote: `apptainer remote logout [NAME]`.
    pub command Logout = ["remote", "logout"] under remote: RemoteOptions {
        groups {}
        positional {
            name: Option<OsString>,
        }
        flags {}
    }
}

impl Logout {
    /// Logs out of the remote in use.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }

    /// Logs out of the remote `name`.
    pub fn of(name: impl Into<OsString>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::unset()
        }
    }
}
