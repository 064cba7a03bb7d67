//! `apptainer capability list`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Shows what has been granted: `apptainer capability list [USER|GROUP]`.
    pub command List = ["capability", "list"] {
        groups {}
        positional {
            owner: Option<OsString>,
        }
        flags {}
    }
}

impl List {
    /// To anybody.
    pub fn all() -> Self {
        Self::unset()
    }

    /// To one user or group.
    pub fn of(owner: impl Into<OsString>) -> Self {
        Self {
            owner: Some(owner.into()),
            ..Self::unset()
        }
    }
}
