//! `apptainer sign`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Signs an image: `apptainer sign IMAGE`.
    pub command Sign = ["sign"] {
        groups {}
        positional {
            image: OsString,
        }
        flags {
            /// Signs the objects of this group.
            group_id: value(u32) = "--group-id";
            /// A private key in PEM, in place of one of the keyring.
            key: value(PathBuf) = "--key";
            /// Which key of the keyring, from 0.
            keyidx: value(u32) = "--keyidx";
            /// Signs this object.
            sif_id: value(u32) = "--sif-id";
        }
    }
}

impl Sign {
    /// Signs all of the SIF file `image`.
    pub fn new(image: impl AsRef<Path>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
