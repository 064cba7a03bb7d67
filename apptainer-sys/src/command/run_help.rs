//! `apptainer run-help`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Shows an image's own help: `apptainer run-help IMAGE`.
    pub command RunHelp = ["run-help"] {
        groups {}
        positional {
            image: OsString,
        }
        flags {
            /// Of one SCIF app in the image.
            app: value(String) = "--app";
        }
    }
}

impl RunHelp {
    /// The help of `image`.
    pub fn new(image: impl AsRef<Path>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
