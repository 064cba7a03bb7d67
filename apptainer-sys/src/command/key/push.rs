//! `apptainer key push`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Uploads a public key: `apptainer key push FINGERPRINT`.
    pub command Push = ["key", "push"] {
        groups {}
        positional {
            fingerprint: OsString,
        }
        flags {
            /// The installation's keyring, not the user's.
            global: switch = "--global";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// The key server.
            url: value(String) = "--url";
        }
    }
}

impl Push {
    /// Uploads the key with this fingerprint.
    pub fn new(fingerprint: impl Into<OsString>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            ..Self::unset()
        }
    }
}
