//! Why a command could not be run.

use std::io;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::SpawnError;

use crate::container::ContainerError;
use crate::error::ApptainerFailure;

/// A command could not be run.
///
/// That a command ran and exited with something other than 0 is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The container cannot be as it was described; nothing was started.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Apptainer cannot be told to; nothing was started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `apptainer` could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` failed before the command ran, or could not run it.
    #[error(transparent)]
    Apptainer(Box<ApptainerFailure>),
    /// The command's end, or its output, could not be learned of.
    #[error("wait for a command: {0}")]
    Wait(#[from] io::Error),
}

impl ExecError {
    /// What kind of failure of Apptainer it is, if it is one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Apptainer(failure) => Some(failure.kind()),
            _ => None,
        }
    }

    /// Whether the container has no such program.
    pub fn is_command_not_found(&self) -> bool {
        self.kind() == Some(FailureKind::CommandNotFound)
    }

    /// Whether the program is there and cannot be run.
    pub fn is_command_not_executable(&self) -> bool {
        self.kind() == Some(FailureKind::CommandNotExecutable)
    }
}
