//! `apptainer cache list`.

use super::Kind;
use crate::command::options::options;

options! {
    /// Shows what is in the cache: `apptainer cache list`.
    pub command List = ["cache", "list"] {
        groups {}
        positional {}
        flags {
            /// Only this part.
            kind: list(Kind) = "--type";
            /// Entry by entry, not only totals.
            verbose: switch = "--verbose";
        }
    }
}
