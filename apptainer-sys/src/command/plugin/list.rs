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
