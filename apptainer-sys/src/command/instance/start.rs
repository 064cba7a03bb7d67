//! `apptainer instance start`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::command::ActionOptions;
use crate::command::options::{options, positional};

options! {
    /// Flags that only `instance start` and `instance run` take.
    pub group StartOptions {
        /// Runs the image's `/sbin/init` (root only).
        boot: switch = "--boot";
        /// Runs the instance under DMTCP, to be checkpointed by this name.
        dmtcp_launch: value(String) = "--dmtcp-launch";
        /// Restarts this DMTCP checkpoint.
        dmtcp_restart: value(String) = "--dmtcp-restart";
        /// Writes the pid of the instance to this file.
        pid_file: value(PathBuf) = "--pid-file";
    }
}

options! {
    /// Starts an instance with the image's startscript:
    /// `apptainer instance start IMAGE NAME [ARGS..]`.
    pub command Start = ["instance", "start"] {
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
        flags {}
    }
}

impl Start {
    /// Starts `image` under `name`.
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
