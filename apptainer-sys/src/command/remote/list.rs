//! `apptainer remote list`.

use super::RemoteOptions;
use crate::command::options::options;

options! {
    /// Shows the remotes: `apptainer remote list`.
    pub command List = ["remote", "list"] under remote: RemoteOptions {
        groups {}
        positional {}
        flags {}
    }
}
