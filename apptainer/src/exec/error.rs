//! Why a command could not be run.

use std::ffi::OsString;
use std::io;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::{SpawnError, SpawnStage};
use nix::libc;

use super::{LinkError, Mechanism, StartError, StartStage};
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
    /// A word of it has a NUL byte, which no program can be given; nothing was started.
    #[error("run a command: a word of it holds a NUL byte")]
    Nul,
    /// A variable cannot have this name; nothing was started.
    #[error("set the variable {name:?}: a name is not empty and has no `=`")]
    VariableName {
        /// The name given.
        name: OsString,
    },
    /// It cannot be run in the way that it is to be; nothing was started.
    #[error("run a command by {mechanism}{}: {}", taken_by(*.needs), .mechanism.lack())]
    Unavailable {
        /// The way.
        mechanism: Mechanism,
        /// What of it takes that way.
        needs: Option<&'static str>,
    },
    /// Over a [stream](super::Link::over) this stream of a command is to be
    /// [piped](super::Stdio::piped) or [null](super::Stdio::null), and was inherited or given
    /// a descriptor; nothing was started.
    #[error("run a command over a stream: its {stream} can only be piped or null there")]
    NotCarried {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
    },
    /// Its agent could not start it; nothing of it is left.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no link to its container, or none any more.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// `apptainer` could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` failed before the command ran, or could not run it.
    #[error(transparent)]
    Apptainer(Box<ApptainerFailure>),
    /// The command's end, or its output, could not be learned of.
    #[error("wait for a command: {0}")]
    Wait(#[source] io::Error),
}

/// What was learned while reading or writing about the link is told as such.
impl From<io::Error> for ExecError {
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(lost) => Self::Link(lost),
            Err(error) => Self::Wait(error),
        }
    }
}

fn taken_by(option: Option<&str>) -> String {
    option.map_or_else(String::new, |option| format!(", which `{option}` takes"))
}

impl ExecError {
    /// What kind of failure of Apptainer it is, if it is one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Apptainer(failure) | Self::Link(LinkError::Apptainer(failure)) => {
                Some(failure.kind())
            }
            _ => None,
        }
    }

    /// Whether the container has no such program.
    pub fn is_command_not_found(&self) -> bool {
        self.kind() == Some(FailureKind::CommandNotFound)
            || self.failed_at(StartStage::Exec, &[libc::ENOENT, libc::ENOTDIR])
    }

    /// Whether the program is there and cannot be run.
    pub fn is_command_not_executable(&self) -> bool {
        let codes = [
            libc::EACCES,
            libc::ENOEXEC,
            libc::EISDIR,
            libc::ELIBBAD,
            libc::ELOOP,
        ];
        self.kind() == Some(FailureKind::CommandNotExecutable)
            || self.failed_at(StartStage::Exec, &codes)
    }

    /// Whether the working directory is not in the container, or may not be entered.
    pub fn is_working_directory(&self) -> bool {
        self.kind() == Some(FailureKind::WorkingDirectory)
            || matches!(self, Self::Start(error) if error.stage() == StartStage::Directory)
    }

    /// Whether its arguments and variables take more room than the kernel gives them.
    pub fn is_argument_list_too_long(&self) -> bool {
        match self {
            Self::Start(error) => error.code() == libc::E2BIG,
            Self::Spawn(error) => error.source.raw_os_error() == Some(libc::E2BIG),
            _ => false,
        }
    }

    /// Whether there was no room for another process.
    pub fn is_out_of_processes(&self) -> bool {
        match self {
            Self::Start(error) => error.is(StartStage::Process, &[libc::EAGAIN]),
            Self::Spawn(error) => {
                error.stage == SpawnStage::Process
                    && error.source.raw_os_error() == Some(libc::EAGAIN)
            }
            _ => false,
        }
    }

    /// Whether its container, or the agent in it, has ended under it.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Link(LinkError::Lost | LinkError::Malformed))
    }

    fn failed_at(&self, stage: StartStage, codes: &[i32]) -> bool {
        matches!(self, Self::Start(error) if error.is(stage, codes))
    }
}
