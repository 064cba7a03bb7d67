//! `apptainer sif list`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Shows the objects in a SIF file: `apptainer sif list FILE`.
    pub command List = ["sif", "list"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {}
    }
}

impl List {
    /// Of the SIF file `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
