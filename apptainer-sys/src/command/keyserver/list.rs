//! `apptainer keyserver list`.

use std::ffi::OsString;

use super::KeyserverOptions;
use crate::command::options::options;

options! {
    /// Shows key servers: `apptainer keyserver list [REMOTE]`.
    pub command List = ["keyserver", "list"] since Keyservers under keyserver: KeyserverOptions {
        groups {}
        positional {
            remote: Option<OsString>,
        }
        flags {}
    }
}

impl List {
    /// Of all remotes.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }

    /// Of one remote.
    pub fn of_remote(remote: impl Into<OsString>) -> Self {
        Self {
            remote: Some(remote.into()),
            ..Self::unset()
        }
    }
}
