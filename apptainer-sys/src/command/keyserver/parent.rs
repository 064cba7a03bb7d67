//! What stands behind `apptainer keyserver`.

use std::path::PathBuf;

use crate::command::options::options;

options! {
    /// Flags that stand before the last word of `apptainer keyserver ..`.
    pub group KeyserverOptions {
        /// The file that holds the configuration of remotes.
        config: value(PathBuf) = "--config";
    }
}
