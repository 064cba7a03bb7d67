//! Why an instance is not well.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::Pid;

use crate::exec::{ExecError, ExitStatus};

/// A probe did not pass.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// The instance does not run any more.
    #[error("the instance has ended")]
    Ended,
    /// It took longer than it may.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// Nothing listens at the port.
    #[error("nothing listens at port {port}")]
    NotListening {
        /// The port.
        port: u16,
    },
    /// What listens at the port is no process of the instance.
    #[error("port {port} is somebody else's{}: have the instance use another", by(*.pid))]
    ListenedToByAnother {
        /// The port.
        port: u16,
        /// Whose it is, where that may be seen.
        pid: Option<Pid>,
    },
    /// The instance listens at the port and takes no connections.
    #[error("port {port} refuses connections")]
    Refused {
        /// The port.
        port: u16,
    },
    /// The status of its answer is not one that was asked for.
    #[error("it answered with status {code}")]
    Status {
        /// The status code.
        code: u16,
    },
    /// What it answered is no HTTP.
    #[error("it did not answer in HTTP, but {start:?}")]
    NotHttp {
        /// The beginning of what it wrote.
        start: String,
    },
    /// It has a network namespace of its own, into which nobody outside can connect.
    #[error(
        "port {port} is in a network namespace of the instance's own, where HTTP cannot be asked from outside: probe with a command, as `wget -q -O /dev/null http://localhost:{port}/`"
    )]
    OwnNetwork {
        /// The port.
        port: u16,
    },
    /// No port is called so.
    #[error("the instance has no port that is called {name:?}")]
    UnknownPort {
        /// The name.
        name: String,
    },
    /// The command ended with something other than 0.
    #[error("the command ended with {status}{}", wrote(.output))]
    Exit {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
    /// The command could not be run.
    #[error(transparent)]
    Exec(Arc<ExecError>),
    /// There is nothing at the path.
    #[error("there is no {}", .path.display())]
    NotThere {
        /// The path, in the container.
        path: PathBuf,
    },
    /// It was not modified lately.
    #[error("{} was modified {age:?} ago", .path.display())]
    TooOld {
        /// The path, in the container.
        path: PathBuf,
        /// How long ago it was modified.
        age: Duration,
    },
    /// What the caller's own probe said.
    #[error("{0}")]
    Custom(String),
    /// The probe itself cannot be: nothing was asked.
    #[error("the probe's {field} {problem}")]
    Invalid {
        /// Which of its fields.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
}

impl ProbeFailure {
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            source: Arc::new(source),
        }
    }
}

impl From<ExecError> for ProbeFailure {
    fn from(error: ExecError) -> Self {
        Self::Exec(Arc::new(error))
    }
}

fn by(pid: Option<Pid>) -> String {
    pid.map_or_else(String::new, |pid| format!(", process {pid}"))
}

fn wrote(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}
