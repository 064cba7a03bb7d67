//! `apptainer oci resume`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Thaws a container, as root: `apptainer oci resume ID`.
    pub command Resume = ["oci", "resume"] {
        groups {}
        positional {
            id: OsString,
        }
        flags {}
    }
}

impl Resume {
    /// The container `id`.
    pub fn new(id: impl Into<OsString>) -> Self {
        Self {
            id: id.into(),
            ..Self::unset()
        }
    }
}
