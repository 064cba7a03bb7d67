//! What stands behind `apptainer remote`.

use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Flags that stand before the last word of `apptainer remote ..`.
    pub group RemoteOptions {
        /// The file that holds the configuration of remotes.
        config: value(PathBuf) = "--config";
    }
}
