//! `apptainer shell`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::command::options::{options, positional};
use crate::command::{ActionOptions, ForegroundOptions};

options! {
    /// Runs a shell in a container: `apptainer shell IMAGE`.
    pub command Shell = ["shell"] {
        groups {
            /// What shapes the container.
            action: ActionOptions,
            /// What only the actions that stay in the foreground take.
            foreground: ForegroundOptions,
        }
        positional {
            image: OsString,
        }
        flags {
            /// The shell, as a path in the container.
            shell: value(PathBuf) = "--shell";
        }
    }
}

impl Shell {
    /// A shell in `image`: a path, a URI, or `instance://NAME`.
    pub fn new(image: impl AsRef<OsStr>) -> Self {
        Self {
            image: positional(image.as_ref()),
            ..Self::unset()
        }
    }
}
