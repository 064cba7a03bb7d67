//! `apptainer sif info`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Shows an object of a SIF file: `apptainer sif info ID FILE`.
    pub command Info = ["sif", "info"] {
        groups {}
        positional {
            id: OsString,
            file: OsString,
        }
        flags {}
    }
}

impl Info {
    /// Of the object `id`.
    pub fn new(id: u32, file: impl AsRef<Path>) -> Self {
        Self {
            id: id.to_string().into(),
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
