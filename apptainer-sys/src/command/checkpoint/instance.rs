//! `apptainer checkpoint instance`.

use std::ffi::OsString;

use crate::command::Home;
use crate::command::options::options;

options! {
    /// Writes down the state of an instance: `apptainer checkpoint instance NAME`.
    ///
    /// The instance must have been started with DMTCP.
    pub command Instance = ["checkpoint", "instance"] {
        groups {}
        positional {
            name: OsString,
        }
        flags {
            /// The home directory.
            home: value(Home) = "--home";
        }
    }
}

impl Instance {
    /// Of the instance `name`.
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            ..Self::unset()
        }
    }
}
