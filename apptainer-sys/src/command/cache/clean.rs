//! `apptainer cache clean`.

use super::Kind;
use crate::command::options::options;

options! {
    /// Empties the cache: `apptainer cache clean`.
    ///
    /// It asks on the terminal unless [`force`](Clean::force) is set.
    pub command Clean = ["cache", "clean"] {
        groups {}
        positional {}
        flags {
            /// Only entries older than this many days.
            days: value(u32) = "--days";
            /// Says what it would remove.
            dry_run: switch = "--dry-run";
            /// Does not ask.
            force: switch = "--force";
            /// Only this part.
            kind: list(Kind) = "--type";
        }
    }
}
