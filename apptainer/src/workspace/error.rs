//! Why a workspace did not do what it was asked.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::GitError;
use crate::exec::ExecError;
use crate::files::FilesError;
use crate::image::ImageError;
use crate::instance::InstanceError;

/// Why a workspace did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// Its image could not be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its instance could not be started, or used.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// A command could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Its working directory could not be made.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Git did not tell.
    #[error(transparent)]
    Git(#[from] GitError),
    /// What a workspace that is not of this machine failed with: an error of the module that it is
    /// of, to be had by `downcast_ref`.
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// A workspace of this kind cannot do that.
    #[error("{doing}: {reason}")]
    Unsupported {
        /// What was to be done.
        doing: &'static str,
        /// Why that cannot be.
        reason: &'static str,
    },
    /// The image has no such shell; nothing was run.
    #[error(
        "run a shell line: there is no {shell:?} in the image; run a program without a shell by \
         `Workspace::command`, or choose another image"
    )]
    NoShell {
        /// The shell that was looked for.
        shell: PathBuf,
    },
    /// A path in the container has to be absolute here; nothing was started.
    #[error("make a workspace: its working directory {path:?} is not absolute")]
    Relative {
        /// The path given.
        path: PathBuf,
    },
    /// There is an open session of this name.
    #[error("open the session {name}: there is one of this name; close that one, or use it")]
    SessionExists {
        /// The name.
        name: String,
    },
    /// The shell of a session did not do what a POSIX shell does.
    #[error("open the session {name}: {shell:?} does not answer as a POSIX shell does{said}")]
    NotAShell {
        /// The name of the session.
        name: String,
        /// The program.
        shell: OsString,
        /// What it wrote.
        said: Said,
    },
    /// The shell of a session has ended, before this or meanwhile.
    #[error("use the session {name}: its shell has ended; open another")]
    SessionEnded {
        /// The name of the session.
        name: String,
    },
    /// A shell line cannot hold a NUL; nothing was run.
    #[error("run a shell line: it has a NUL in it")]
    Nul,
    /// What a session is driven by failed.
    #[error("drive the session {name}: {source}")]
    Session {
        /// The name of the session.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It has no temporary overlay, which could be copied.
    #[error("copy what was written to a workspace: it has no temporary overlay")]
    NoLayer,
    /// What was written to the workspace could not be copied.
    #[error("copy the writable layer: {path:?}: {source}")]
    Layer {
        /// Of what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What a program wrote, as the end of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(pub(super) String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(f, ": {text}"),
        }
    }
}
