//! `apptainer key list`.

use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Shows the keyring: `apptainer key list`.
    pub command List = ["key", "list"] {
        groups {}
        positional {}
        flags {
            /// The installation's keyring, not the user's.
            global: switch = "--global";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// Private keys.
            secret: switch = "--secret";
        }
    }
}
