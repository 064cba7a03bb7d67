//! `apptainer sif setprim`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Makes a partition the one that is run: `apptainer sif setprim ID FILE`.
    pub command SetPrim = ["sif", "setprim"] {
        groups {}
        positional {
            id: OsString,
            file: OsString,
        }
        flags {}
    }
}

impl SetPrim {
    /// The partition `id`.
    pub fn new(id: u32, file: impl AsRef<Path>) -> Self {
        Self {
            id: id.to_string().into(),
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
