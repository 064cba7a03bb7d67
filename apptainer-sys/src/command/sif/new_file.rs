//! `apptainer sif new`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Makes an empty SIF file: `apptainer sif new FILE`.
    pub command NewFile = ["sif", "new"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {}
    }
}

impl NewFile {
    /// Makes it at `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
