//! `apptainer plugin list`.

use crate::command::options::options;

options! {
    /// Shows plugins: `apptainer plugin list`.
    pub command List = ["plugin", "list"] {
        groups {}
        positional {}
        flags {}
    }
}
