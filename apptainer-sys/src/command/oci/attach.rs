//! `apptainer oci attach`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Connects the terminal to a container, as root: `apptainer oci attach ID`.
    pub command Attach = ["oci", "attach"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {}
    }
}

impl Attach {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
