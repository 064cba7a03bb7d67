//! `apptainer key export`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Writes a key to a file: `apptainer key export FILE`.
    ///
    /// It asks on the terminal which.
    pub command Export = ["key", "export"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {
            /// As text.
            armor: switch = "--armor";
            /// The installation's keyring, not the user's.
            global: switch = "--global";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// The private key.
            secret: switch = "--secret";
        }
    }
}

impl Export {
    /// Writes to `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
