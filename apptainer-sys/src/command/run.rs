//! `apptainer run`.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::options::{options, positional};
use super::{ActionOptions, ForegroundOptions};

options! {
    /// Runs an image's own program: `apptainer run IMAGE [ARGS..]`.
    pub command Run = ["run"] {
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
        flags {
            /// How long the image's environment scripts may take: `30s`, `2m`.
            runscript_timeout: value(Duration) = "--runscript-timeout" since RunscriptTimeout;
        }
    }
}

impl Run {
    /// Runs the runscript of `image` with `args`.
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
