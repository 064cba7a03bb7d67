//! `apptainer checkpoint list`.

use crate::command::options::options;

options! {
    /// Shows checkpoints: `apptainer checkpoint list`.
    pub command List = ["checkpoint", "list"] {
        groups {}
        positional {}
        flags {}
    }
}
