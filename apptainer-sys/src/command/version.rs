//! `apptainer version`.

use super::options::options;

options! {
    /// Prints the version: `apptainer version`.
    pub command PrintVersion = ["version"] {
        groups {}
        positional {}
        flags {}
    }
}
