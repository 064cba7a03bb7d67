//! `apptainer instance run`.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::StartOptions;
use crate::command::ActionOptions;
use crate::command::options::{options, positional};

options! {
    /// Starts an instance with the image's runscript:
    /// `apptainer instance run IMAGE NAME [ARGS..]`.
    pub command Run = ["instance", "run"] {
        groups {
            /// What shapes the container.
            action: ActionOptions,
            /// What only instances take.
            start: StartOptions,
        }
        positional {
            image: OsString,
            name: OsString,
            args: Vec<OsString>,
        }
        flags {
            /// How long the image's environment scripts may take: `30s`, `2m`.
            runscript_timeout: value(Duration) = "--runscript-timeout" since RunscriptTimeout;
        }
    }
}

impl Run {
    /// Runs `image` under `name`.
    pub fn new<A: Into<OsString>>(
        image: impl AsRef<OsStr>,
        name: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            image: positional(image.as_ref()),
            name: name.as_ref().to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::unset()
        }
    }
}
