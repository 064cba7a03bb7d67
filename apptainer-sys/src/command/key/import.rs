//! `apptainer key import`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Adds a key to the keyring: `apptainer key import FILE`.
    pub command Import = ["key", "import"] {
        groups {}
        positional {
            file: OsString,
        }
        flags {
            /// The installation's keyring, not the user's.
            global: switch = "--global";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// Asks on the terminal for a new passphrase.
            new_password: switch = "--new-password";
        }
    }
}

impl Import {
    /// Adds the key in `file`.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}
