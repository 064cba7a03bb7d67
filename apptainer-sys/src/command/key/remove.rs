//! `apptainer key remove`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Removes a key from the keyring: `apptainer key remove FINGERPRINT`.
    pub command Remove = ["key", "remove"] {
        groups {}
        positional {
            fingerprint: OsString,
        }
        flags {
            /// The public and the private key.
            both: mode = "--both";
            /// The installation's keyring, not the user's.
            global: switch = "--global";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// The public key.
            public: mode = "--public";
            /// The private key.
            secret: mode = "--secret";
        }
    }
}

impl Remove {
    /// Removes the public key with this fingerprint.
    pub fn public(fingerprint: impl Into<OsString>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            public: true,
            ..Self::unset()
        }
    }

    /// Removes the private key.
    pub fn secret(fingerprint: impl Into<OsString>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            secret: true,
            ..Self::unset()
        }
    }

    /// Removes both.
    pub fn both(fingerprint: impl Into<OsString>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            both: true,
            ..Self::unset()
        }
    }
}
