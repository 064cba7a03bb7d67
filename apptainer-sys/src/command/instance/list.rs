//! `apptainer instance list`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Shows running instances: `apptainer instance list [GLOB]`.
    ///
    /// It removes the records of instances that it takes to be dead;
    /// [`state::instance`](crate::state::instance) reads them without that.
    pub command List = ["instance", "list"] {
        groups {}
        positional {
            glob: Option<OsString>,
        }
        flags {
            /// Of all users (root only).
            all: switch = "--all" since InstanceListAll;
            /// As JSON.
            json: switch = "--json";
            /// With the paths of their logs; not together with JSON.
            logs: switch = "--logs";
            /// Of this user (root only).
            user: value(String) = "--user";
        }
    }
}

impl List {
    /// Every instance.
    pub fn all_names() -> Self {
        Self::unset()
    }

    /// Instances whose name matches `glob`.
    pub fn matching(glob: impl Into<OsString>) -> Self {
        Self {
            glob: Some(glob.into()),
            ..Self::unset()
        }
    }
}
