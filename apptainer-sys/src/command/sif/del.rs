//! `apptainer sif del`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Takes an object out of a SIF file: `apptainer sif del ID FILE`.
    pub command Del = ["sif", "del"] {
        groups {}
        positional {
            id: OsString,
            file: OsString,
        }
        flags {}
    }
}

impl Del {
    /// The object `id`.
    pub fn new(id: u32, file: impl AsRef<Path>) -> Self {
        Self {
            id: id.to_string().into(),
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
