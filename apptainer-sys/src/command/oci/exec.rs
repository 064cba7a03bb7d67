//! `apptainer oci exec`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Runs a program in a container, as root: `apptainer oci exec ID PROGRAM [ARGS..]`.
    pub command Exec = ["oci", "exec"] {
        groups {}
        positional {
            id: OsString,
            program: OsString,
            args: Vec<OsString>,
        }
        flags {}
    }
}

impl Exec {
    /// Runs `program` with `args` in the container `id`.
    pub fn new<A: Into<OsString>>(
        id: impl Into<OsString>,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            id: id.into(),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::unset()
        }
    }
}
