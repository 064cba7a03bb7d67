//! `apptainer sif header`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Shows a SIF file's header: `apptainer sif header FILE`.
    pub command Header = ["sif", "header"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {}
    }
}

impl Header {
    /// Of the SIF file `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
