//! `apptainer oci mount`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};

options! {
    /// Makes a bundle of an image, as root: `apptainer oci mount IMAGE BUNDLE`.
    pub command Mount = ["oci", "mount"] {
        groups {}
        positional {
            image: OsString,
            bundle: OsString,
        }
        flags {}
    }
}

impl Mount {
    /// Makes `bundle` of the SIF file `image`.
    pub fn new(image: impl AsRef<Path>, bundle: impl AsRef<Path>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            bundle: positional(bundle.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
