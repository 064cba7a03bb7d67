//! `apptainer oci umount`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Takes a bundle down, as root: `apptainer oci umount BUNDLE`.
    pub command Umount = ["oci", "umount"] {
        groups {}
        positional {
            bundle: OsString,
        }
        flags {}
    }
}

impl Umount {
    /// The bundle `bundle`.
    pub fn new(bundle: impl AsRef<Path>) -> Self {
        Self {
            bundle: positional(bundle.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
