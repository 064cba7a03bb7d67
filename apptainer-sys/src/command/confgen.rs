//! `apptainer confgen`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Writes an `apptainer.conf`: `apptainer confgen [OLD] NEW`.
    pub command ConfGen = ["confgen"] {
        groups {}
        positional {
            old: Option<OsString>,
            new: OsString,
        }
        flags {}
    }
}

impl ConfGen {
    /// Writes one with every setting at its default to `new`.
    pub fn fresh(new: impl AsRef<Path>) -> Self {
        Self {
            new: positional(new.as_ref().as_os_str()),
            ..Self::unset()
        }
    }

    /// Writes one with the settings of the file `old` to `new`.
    pub fn from_old(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Self {
        Self {
            old: Some(positional(old.as_ref().as_os_str())),
            new: positional(new.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
