//! `apptainer test`.

use std::ffi::{OsStr, OsString};

use crate::command::options::{options, positional};
use crate::command::{ActionOptions, ForegroundOptions};

options! {
    /// Runs an image's own tests: `apptainer test IMAGE [ARGS..]`.
    pub command Test = ["test"] {
        groups {
            /// What shapes the container.
            action: ActionOptions,
            /// What only the actions that stay in the foreground take.
            foreground: ForegroundOptions,
        }
        positional {
            image: OsString,
            args: Vec<OsString>,
        }
        flags {}
    }
}

impl Test {
    /// Runs the testscript of `image` with `args`.
    pub fn new<A: Into<OsString>>(
        image: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            image: positional(image.as_ref()),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::unset()
        }
    }
}
