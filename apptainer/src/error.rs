//! What can go wrong, floor by floor.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use apptainer_sys::InstallError;
use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::Exit;

use crate::exec::ExecError;
use crate::files::FilesError;
use crate::image::{ExportError, ImageError};
use crate::instance::InstanceError;

/// Any error of this crate, for programs that do not tell them apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Apptainer was not found, or is not usable.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// An image could not be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image could not be taken out of the store.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A command could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Something could not be done with a file in a container.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An instance could not be started, found or stopped.
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

/// A run of `apptainer` that failed by itself, not by the program it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApptainerFailure {
    /// The program.
    pub program: PathBuf,
    /// The words it was given.
    pub argv: Vec<OsString>,
    /// How it ended.
    pub exit: Exit,
    /// What went wrong, as far as it can be told.
    pub failure: Failure,
    /// The end of what it wrote to standard error.
    pub stderr: String,
    /// The end of what it wrote to standard output: of a build, what its scripts did. Empty
    /// where that was something else's, or is not kept.
    pub stdout: String,
}

impl ApptainerFailure {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.failure.kind
    }
}

impl fmt::Display for ApptainerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self
            .argv
            .iter()
            .find(|word| !word.as_encoded_bytes().starts_with(b"-"));
        let command = command
            .map(|word| word.to_string_lossy())
            .unwrap_or_default();
        write!(
            f,
            "run apptainer {command}: {} ({})",
            self.failure.message, self.exit
        )?;
        match self.failure.kind.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApptainerFailure {}
