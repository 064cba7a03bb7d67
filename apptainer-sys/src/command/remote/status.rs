//! `apptainer remote status`.

use std::ffi::OsString;

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Asks whether a remote works: `apptainer remote status [NAME]`.
    pub command Status = ["remote", "status"] under remote: RemoteOptions {
        groups {}
        positional {
            name: Option<OsString>,
        }
        flags {}
    }
}

impl Status {
    /// Of the remote in use.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }

    /// Of the remote `name`.
    pub fn of(name: impl Into<OsString>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::unset()
        }
    }
}
