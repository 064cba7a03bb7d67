//! Why it cannot be told what has been changed.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::{Exit, SpawnError};

use crate::exec::ExecError;

/// It could not be told what has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no git where it was to be run.
    #[error(
        "run git: there is none on the PATH; put it into the image, or have the host's run with \
         `Git::on_host`"
    )]
    NoGit,
    /// The directory is in no repository.
    #[error("ask git about {}: it is in no repository", path.display())]
    NotARepository {
        /// What was asked about.
        path: PathBuf,
    },
    /// The directory is in a repository that has no files to work on, or in the part of it that
    /// is git's own.
    #[error("ask git about {}: nothing is checked out there", path.display())]
    Bare {
        /// What was asked about.
        path: PathBuf,
    },
    /// There is no such directory, or no such file, neither now nor in the commit. What is
    /// neither a file nor a symbolic link counts as none.
    #[error("ask git about {}: there is no such file or directory", path.display())]
    NoSuchFile {
        /// What was asked about.
        path: PathBuf,
    },
    /// More would have to be read than is allowed.
    #[error("read {}: {size} bytes, and {limit} are the most", path.display())]
    TooLarge {
        /// The file, or the directory with so many changes.
        path: PathBuf,
        /// How large it is; of changes, at least.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// The repository knows no commit of this name.
    #[error("compare with {reference:?}: there is no such commit")]
    UnknownRef {
        /// What was to be compared with.
        reference: String,
    },
    /// The host's git was to be run on what the host does not have: something that is not below
    /// the mount, or leads out of it.
    #[error(
        "run the host's git on {}: that is not below {}, or a link leads out of it",
        path.display(), mount.display()
    )]
    Outside {
        /// What was asked about, or what it leads to.
        path: PathBuf,
        /// The directory that both see, as the host names it.
        mount: PathBuf,
    },
    /// It failed.
    #[error("run git {argv:?}: {exit}: {}", stderr.trim())]
    Failed {
        /// The words behind the program.
        argv: Vec<OsString>,
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// What it printed cannot be made sense of.
    #[error("read what git {argv:?} printed: {unexpected}")]
    Unexpected {
        /// The words behind the program.
        argv: Vec<OsString>,
        /// What was not expected.
        unexpected: String,
    },
    /// It took too long, and was ended.
    #[error("run git {argv:?}: it has not ended within {limit:?}")]
    Timeout {
        /// The words behind the program.
        argv: Vec<OsString>,
        /// How long it may take.
        limit: Duration,
    },
    /// It could not be run in the container.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// It could not be run on the host.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The system refused something.
    #[error("read {}: {source}", path.display())]
    Io {
        /// Of which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl GitError {
    /// Whether there is no repository, which the Python SDK's server takes for one without
    /// changes.
    pub fn is_not_a_repository(&self) -> bool {
        matches!(self, Self::NotARepository { .. })
    }

    /// Whether there is no such file or directory.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoSuchFile { .. })
    }
}
