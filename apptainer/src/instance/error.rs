//! What can go wrong with instances.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::SpawnError;
use apptainer_sys::state::instance::RecordError;

use super::limits::LimitError;
use super::{PortError, SpecError, State};
use crate::container::ContainerError;
use crate::error::ApptainerFailure;
use crate::exec::{ExecError, LinkError};
use crate::image::ImageError;

/// An instance could not be started, found or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The container cannot be as it was described; nothing was started.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Apptainer cannot be told to; nothing was started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Instances cannot have this name; nothing was started.
    #[error(
        "start the instance {name:?}: a name is letters, digits, dots, underscores and dashes, and at most 250 of them"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// An instance of that name runs already, or is being started.
    #[error(
        "start the instance {name}: the name is taken; choose another, or stop that instance first"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No instance of that name runs.
    #[error("find the instance {name}: this user has none of this name that runs on this host")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// `apptainer` could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` could not start the instance. Nothing of it runs.
    #[error("start the instance {name}: {failure}")]
    Apptainer {
        /// The name.
        name: String,
        /// What went wrong.
        failure: Box<ApptainerFailure>,
        /// The end of what the instance itself wrote to its standard error.
        log: String,
    },
    /// Apptainer said that it had started the instance, and it was gone at once.
    #[error("start the instance {name}: it ended at once; it wrote: {log}")]
    EndedAtOnce {
        /// The name.
        name: String,
        /// The end of what the instance itself wrote to its standard error.
        log: String,
    },
    /// Apptainer's records of instances cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The instance did not end although it was killed.
    #[error(
        "stop the instance {name}: it is still there, though killed; it may be waiting for a file system that does not answer"
    )]
    StillRunning {
        /// The name.
        name: String,
    },
    /// What it was described as does not hold; nothing was started.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its image could not be had; nothing was started.
    #[error(transparent)]
    Image(#[from] Box<ImageError>),
    /// A port could not be had for it; nothing was started.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It took too long. Nothing of it runs.
    #[error("start the instance {name}: it was not up after {limit:?}; it wrote: {log}")]
    TimedOut {
        /// The name.
        name: String,
        /// How long it was given.
        limit: Duration,
        /// The end of what the instance itself wrote to its standard error.
        log: String,
    },
    /// There is no program to run in it; nothing was started.
    #[error("start an instance: a command is a program and its arguments, and there is no program")]
    NoCommand,
    /// The agent in it cannot be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its payload could not be started. Nothing of it runs.
    #[error("start the payload of an instance: {0}")]
    Payload(#[from] Box<ExecError>),
    /// The instance has ended.
    #[error("use the instance {name}: it is {state}; it wrote: {log}")]
    Ended {
        /// The name.
        name: String,
        /// How it is.
        state: State,
        /// The end of what the instance itself wrote to its standard error.
        log: String,
    },
    /// Nobody watches the instance any more: its supervisor is gone, or its runtime.
    #[error("use the instance {name}: its supervisor does not watch it any more")]
    Unwatched {
        /// The name.
        name: String,
    },
    /// A supervisor of that name runs.
    #[error(
        "open the supervisor {name}: one of this name runs already; choose another name, or stop that one"
    )]
    SupervisorRuns {
        /// The name.
        name: String,
    },
    /// A supervisor could not do what it does on disk.
    #[error("run the supervisor {name}: {source}")]
    Supervisor {
        /// The name.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A folder for sockets is another's, or others may enter it.
    #[error(
        "use the folder {}: it must be this user's, and its mode 0700; name another with `runtime_dir`", .path.display()
    )]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
    /// The instance could not be limited, paused or counted.
    #[error("{doing} the instance {name}: {source}")]
    Limit {
        /// What was being done: `pause`, `resume`, `count what is used by`.
        doing: &'static str,
        /// The name.
        name: String,
        /// Why it failed.
        source: LimitError,
    },
    /// The system refused something.
    #[error("{doing} the instance {name}: {source}")]
    Io {
        /// What was being done: `start`, `stop`.
        doing: &'static str,
        /// The name.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl From<ImageError> for InstanceError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<ExecError> for InstanceError {
    fn from(error: ExecError) -> Self {
        Self::Payload(Box::new(error))
    }
}

impl InstanceError {
    pub(super) fn starting(name: &str, source: io::Error) -> Self {
        Self::Io {
            doing: "start",
            name: name.to_owned(),
            source,
        }
    }

    pub(super) fn watching(name: &str, source: io::Error) -> Self {
        Self::Io {
            doing: "watch",
            name: name.to_owned(),
            source,
        }
    }

    pub(super) fn limit(doing: &'static str, name: &str, source: LimitError) -> Self {
        Self::Limit {
            doing,
            name: name.to_owned(),
            source,
        }
    }

    pub(super) fn name_taken(name: &str) -> Self {
        Self::NameTaken {
            name: name.to_owned(),
        }
    }

    /// What kind of failure of Apptainer it is, if it is one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Apptainer { failure, .. } => Some(failure.kind()),
            _ => None,
        }
    }

    /// Whether the name is that of an instance that runs already.
    pub fn is_name_taken(&self) -> bool {
        matches!(self, Self::NameTaken { .. })
    }
}
