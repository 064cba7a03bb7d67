//! What stands behind `apptainer registry`.

use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Flags that stand before the last word of `apptainer registry ..`.
    pub group RegistryOptions {
        /// The file that holds the configuration of remotes.
        config: value(PathBuf) = "--config";
    }
}
