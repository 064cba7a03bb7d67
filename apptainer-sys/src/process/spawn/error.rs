//! Why a process could not be started.

use std::io;
use std::path::PathBuf;

/// A process could not be started; nothing of it is left. (Where `posix_spawn` had
/// to do it, one that cannot be placed in its cgroup has run for a moment.)
#[derive(Debug, thiserror::Error)]
#[error("start {}: {}{source}", .program.display(), .stage.prefix())]
pub struct SpawnError {
    /// The program.
    pub program: PathBuf,
    /// What was being done.
    pub stage: SpawnStage,
    /// Why it failed.
    pub source: io::Error,
}

/// What was being done when a process could not be started.
///
/// `posix_spawn` does not say: there, what the new process does for itself is
/// all [`Exec`](Self::Exec).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnStage {
    /// Reading what it was given.
    Arguments,
    /// Making its pipes.
    Streams,
    /// Making a process: there is no room for another.
    Process,
    /// Placing it in its cgroup.
    Cgroup,
    /// Giving it its session, group or terminal.
    Session,
    /// Tying its life to the caller's.
    ParentDeath,
    /// Arranging its descriptors.
    Descriptors,
    /// Changing to its working directory.
    Directory,
    /// Running the program: it is missing, or may not be run.
    Exec,
    /// Opening a pidfd.
    Pidfd,
}

impl SpawnStage {
    /// What the message says before the reason, where that alone would mislead.
    fn prefix(self) -> &'static str {
        match self {
            Self::Arguments | Self::Exec => "",
            Self::Streams => "make its pipes: ",
            Self::Process => "make a process: ",
            Self::Cgroup => "place it in its cgroup: ",
            Self::Session => "give it its session: ",
            Self::ParentDeath => "tie its life to the caller's: ",
            Self::Descriptors => "arrange its descriptors: ",
            Self::Directory => "change to its directory: ",
            Self::Pidfd => "open its pidfd: ",
        }
    }
}
