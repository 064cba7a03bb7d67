//! What can go wrong with logs.

use std::io;
use std::path::PathBuf;

use crate::exec::Source;

/// What an instance has written could not be read, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Times were asked for, and none are kept.
    #[error(
        "read the log {}: no times are kept beside it; ask for them with `LogSettings::timestamps` \
         when the instance is started", path.display()
    )]
    NoTimes {
        /// The log.
        path: PathBuf,
    },
    /// Some of it was rotated away, and then removed, before it was read. What comes next
    /// is the oldest that is there.
    #[error(
        "read what an instance wrote: {bytes} bytes were removed before they were read; keep more \
         with `LogSettings::max_files`, or read faster"
    )]
    Skipped {
        /// Of which output.
        output: Source,
        /// How many bytes.
        bytes: u64,
    },
    /// It cannot be told when more comes.
    #[error(
        "follow what an instance writes: {0}; if these are too many, raise \
         fs.inotify.max_user_instances or fs.inotify.max_user_watches"
    )]
    Watch(#[source] io::Error),
    /// The system refused something.
    #[error("read the log {}: {source}", path.display())]
    Io {
        /// The log.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}
