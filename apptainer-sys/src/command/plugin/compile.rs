//! `apptainer plugin compile`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Compiles a plugin: `apptainer plugin compile FOLDER`.
    pub command Compile = ["plugin", "compile"] {
        groups {}
        positional {
            folder: OsString,
        }
        flags {
            /// The SIF file to write.
            out: value(PathBuf) = "--out";
            /// Where to put temporary files.
            tmpdir: value(PathBuf) = "--tmpdir" since Tmpdir;
        }
    }
}

impl Compile {
    /// Compiles the Go package in `folder`.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: positional(folder.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
