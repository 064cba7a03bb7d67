//! `apptainer plugin create`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Begins a plugin: `apptainer plugin create FOLDER NAME`.
    pub command Create = ["plugin", "create"] {
        groups {}
        positional {
            folder: OsString,
            name: OsString,
        }
        flags {}
    }
}

impl Create {
    /// Begins the plugin `name` in `folder`.
    pub fn new(folder: impl AsRef<Path>, name: impl Into<OsString>) -> Self {
        Self {
            folder: positional(folder.as_ref().as_os_str()),
            name: name.into(),
            ..Self::unset()
        }
    }
}
