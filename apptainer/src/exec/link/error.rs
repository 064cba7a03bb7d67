//! Why an agent did not start a command, or could not be started.

use std::io;
use std::path::PathBuf;

use apptainer_sys::process::Exit;

use super::protocol::Stage;
use crate::error::ApptainerFailure;

/// A command could not be started in its container; nothing of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("start the command: {}{}", .stage.prefix(), io::Error::from_raw_os_error(*.code))]
pub struct StartError {
    stage: StartStage,
    code: i32,
}

/// What was being done when a command could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartStage {
    /// Asking for it.
    Request,
    /// Giving it its descriptors.
    Descriptors,
    /// Opening its terminal.
    Terminal,
    /// Making a process: the container has no room for another.
    Process,
    /// Tying its life to its container's.
    Lifeline,
    /// Giving it a session of its own.
    Session,
    /// Setting its limits, or its niceness.
    Limits,
    /// Changing to its working directory.
    Directory,
    /// Running the program.
    Exec,
}

impl StartStage {
    /// What the message says before the reason.
    fn prefix(self) -> &'static str {
        match self {
            Self::Request => "ask for it: ",
            Self::Descriptors => "give it its descriptors: ",
            Self::Terminal => "open its terminal: ",
            Self::Process => "make a process: ",
            Self::Lifeline => "tie its life to its container's: ",
            Self::Session => "give it a session: ",
            Self::Limits => "set its limits: ",
            Self::Directory => "change to its directory: ",
            Self::Exec => "run the program: ",
        }
    }
}

impl StartError {
    pub(super) fn new(stage: Stage, code: i32) -> Self {
        let stage = match stage {
            Stage::Request | Stage::Attach => StartStage::Request,
            Stage::Descriptors => StartStage::Descriptors,
            Stage::Terminal => StartStage::Terminal,
            Stage::Process => StartStage::Process,
            Stage::Lifeline => StartStage::Lifeline,
            Stage::Session => StartStage::Session,
            Stage::Limits => StartStage::Limits,
            Stage::Directory => StartStage::Directory,
            Stage::Exec => StartStage::Exec,
        };
        Self { stage, code }
    }

    /// Of something that failed before the agent was asked.
    pub(super) fn on_host(stage: StartStage, code: i32) -> Self {
        Self { stage, code }
    }

    /// What was being done.
    pub fn stage(&self) -> StartStage {
        self.stage
    }

    /// Why that failed: an error's number, as in [`io::Error::raw_os_error`].
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The same as an [`io::Error`], whose kind can be asked for.
    pub fn to_io_error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.code)
    }

    pub(crate) fn is(self, stage: StartStage, codes: &[i32]) -> bool {
        self.stage == stage && codes.contains(&self.code)
    }
}

/// A link could not be made, or is no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Apptainer failed.
    #[error(transparent)]
    Apptainer(Box<ApptainerFailure>),
    /// The agent cannot be run there.
    #[error("run the exec agent in the container: {reason}")]
    NoAgent {
        /// Why not.
        reason: String,
    },
    /// The agent ended as it began. Its container may have had no room for it, of processes,
    /// memory or descriptors; later it may.
    #[error("run the exec agent in the container: it ended as it began: {exit}")]
    Stillborn {
        /// How it ended.
        exit: Exit,
    },
    /// As many programs are attached to the link as can be; nothing was changed.
    #[error(
        "attach to the link at {}: its exec agent has no room for another program until one \
         lets go of it",
        .path.display()
    )]
    Full {
        /// Where its socket is.
        path: PathBuf,
    },
    /// The agent speaks other versions of the protocol.
    #[error(
        "talk to the exec agent: it speaks versions {oldest} to {newest}, this program speaks {}",
        super::protocol::VERSION
    )]
    Version {
        /// The oldest that it speaks.
        oldest: u16,
        /// The newest that it speaks.
        newest: u16,
    },
    /// There is a detached link already, or one is being made; nothing was started.
    #[error(
        "make a link at {}: there is one already; attach to it, or choose another path",
        .path.display()
    )]
    InUse {
        /// Where its socket is.
        path: PathBuf,
    },
    /// No agent listens there: it has ended, or was never there.
    #[error("attach to the link at {}: no exec agent listens there any more", .path.display())]
    NotThere {
        /// Where its socket is, or should be.
        path: PathBuf,
    },
    /// The link is another user's.
    #[error("attach to the link at {}: it belongs to another user", .path.display())]
    NotOurs {
        /// Where its socket is.
        path: PathBuf,
    },
    /// A link's socket may only be where nobody else gets to; nothing was started.
    #[error(
        "make a link in {}: its socket needs a directory of your own that nobody else may \
         enter (mode 0700)",
        .path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// What was asked for takes a link on this machine.
    #[error("{doing}: a link over a stream has no commands but those of its program")]
    OverStream {
        /// What was asked for.
        doing: &'static str,
    },
    /// The agent knows no command of this number: there was none, or somebody has heard
    /// how it ended.
    #[error("attach to command {number}: there is none, or it has ended and that was told")]
    NoSuchCommand {
        /// The number.
        number: u64,
    },
    /// Somebody holds the command.
    #[error("attach to command {number}: a program holds it")]
    CommandHeld {
        /// The number.
        number: u64,
    },
    /// The agent has ended, and with it all that it had started: its container was
    /// stopped, or it was killed.
    #[error("the exec agent has ended, and with it its commands")]
    Lost,
    /// What came over the link's [stream](super::Link::over) is not what an agent says: the
    /// link has been ended, and with it the agent and its commands.
    #[error("something came that is not what an exec agent says: the link has been ended")]
    Malformed,
    /// Something on the host failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
