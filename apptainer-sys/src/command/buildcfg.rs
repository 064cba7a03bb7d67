//! `apptainer buildcfg`.

use std::ffi::OsString;

use super::options::options;

options! {
    /// Prints how Apptainer was built, as `NAME=VALUE` lines: `apptainer buildcfg [NAME]`.
    pub command BuildCfg = ["buildcfg"] {
        groups {}
        positional {
            parameter: Option<OsString>,
        }
        flags {}
    }
}

impl BuildCfg {
    /// All of it.
    pub fn all() -> Self {
        Self::unset()
    }

    /// One value, printed bare: `APPTAINER_SUID_INSTALL`.
    pub fn parameter(name: impl Into<OsString>) -> Self {
        Self {
            parameter: Some(name.into()),
            ..Self::unset()
        }
    }
}
