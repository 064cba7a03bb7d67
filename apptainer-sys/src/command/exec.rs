//! `apptainer exec`.

use std::ffi::{OsStr, OsString};

use super::options::{options, positional};
use super::{ActionOptions, ForegroundOptions};

options! {
    /// Runs a program in a container: `apptainer exec IMAGE PROGRAM [ARGS..]`.
    pub command Exec = ["exec"] {
        groups {
            /// What shapes the container.
            action: ActionOptions,
            /// What only the actions that stay in the foreground take.
            foreground: ForegroundOptions,
        }
        positional {
            image: OsString,
            program: OsString,
            args: Vec<OsString>,
        }
        flags {}
    }
}

impl Exec {
    /// Runs `program` with `args` in `image`: a path, a URI, or `instance://NAME`.
    pub fn new<A: Into<OsString>>(
        image: impl AsRef<OsStr>,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            image: positional(image.as_ref()),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::unset()
        }
    }
}
