//! `apptainer plugin install`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Installs a plugin: `apptainer plugin install FILE`.
    pub command Install = ["plugin", "install"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {}
    }
}

impl Install {
    /// Installs the SIF file `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
