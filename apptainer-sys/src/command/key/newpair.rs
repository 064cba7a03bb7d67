//! `apptainer key newpair`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::options::{Emit, options};

options! {
    /// Makes a pair of keys: `apptainer key newpair`.
    ///
    /// It asks on the terminal for what is not set.
    pub command NewPair = ["key", "newpair"] {
        groups {}
        positional {}
        flags {
            /// The length of the RSA key in bits; 4096 otherwise.
            bit_length: value(u32) = "--bit-length";
            /// The owner's comment.
            comment: value(String) = "--comment";
            /// The owner's address.
            email: value(String) = "--email";
            /// The keyring at this path.
            keysdir: value(PathBuf) = "--keysdir";
            /// The owner's name.
            name: value(String) = "--name";
            /// The passphrase; everybody on the machine can see it while this runs.
            password: value(String) = "--password";
            /// Whether to upload the public key.
            push: answer(Upload) = "--push";
        }
    }
}

/// Whether a new public key goes to the key server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upload {
    /// It does.
    Yes,
    /// It stays here.
    No,
}

impl Emit for Option<Upload> {
    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        argv.extend(self.map(|push| format!("{flag}={}", push == Upload::Yes).into()));
    }
}
