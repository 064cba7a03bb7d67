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

impl List {
    /// The command.
    #[expect(
        clippy::new_without_default,
        reason = "the builders of commands are alike"
    )]
    pub fn new() -> Self {
        Self::unset()
    }
}
