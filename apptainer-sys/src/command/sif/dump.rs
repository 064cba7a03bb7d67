//! `apptainer sif dump`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Prints an object of a SIF file, byte by byte: `apptainer sif dump ID FILE`.
    pub command Dump = ["sif", "dump"] {
        groups {}
        positional {
            id: OsString,
            file: OsString,
        }
        flags {}
    }
}

impl Dump {
    /// The object `id`.
    pub fn new(id: u32, file: impl AsRef<Path>) -> Self {
        Self {
            id: id.to_string().into(),
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
