//! Why an agent server, or its client, did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::ServerVersion;
use crate::workspace::WorkspaceError;

/// Why an agent server, or its client, did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentServerError {
    /// It has another key, or wants one; nothing was done.
    #[error(
        "{doing}: the agent server does not accept the key; give the one that it was started with"
    )]
    Unauthorized {
        /// What was to be done.
        doing: &'static str,
    },
    /// Nobody could be reached; nothing was done.
    #[error("{doing}: cannot connect to the agent server at {url}: {reason}")]
    Connect {
        /// What was to be done.
        doing: &'static str,
        /// Where it should be.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The connection broke before there was an answer: what was asked may have been done.
    #[error("{doing}: the connection to the agent server broke: {reason}")]
    Lost {
        /// What was to be done.
        doing: &'static str,
        /// How.
        reason: String,
    },
    /// The server refused.
    #[error("{doing}: the agent server answers {status}: {detail}")]
    Status {
        /// What was to be done.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// What it says of it.
        detail: String,
    },
    /// The server's answer is not one.
    #[error("{doing}: the agent server answers what makes no sense: {reason}")]
    Answer {
        /// What was to be done.
        doing: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server did not answer in time: what was asked may have been done.
    #[error("{doing}: the agent server did not answer within {limit:?}")]
    TimedOut {
        /// What was to be done.
        doing: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The server is older than what is understood.
    #[error("use the agent server: it is version {version}; version 1.43 or later is needed")]
    UnsupportedVersion {
        /// Which it is.
        version: ServerVersion,
    },
    /// The server that was started did not become usable; nothing of it runs.
    #[error("start the agent server: {reason}; it wrote: {log}")]
    NotReady {
        /// What is known of it.
        reason: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// The server could not start the line; nothing was run.
    #[error("run a shell line: {detail}")]
    NotStarted {
        /// What the server says of it.
        detail: String,
    },
    /// What was given cannot be sent; nothing was done.
    #[error("{doing}: {reason}")]
    Input {
        /// What was to be done.
        doing: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of this host could not be read or written.
    #[error("{doing} {}: {source}", .path.display())]
    File {
        /// What was being done: `read`, `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The server has written more or less than it was sent.
    #[error("upload to {}: the agent server has {written} bytes of {sent}", .path.display())]
    Size {
        /// The file in the workspace.
        path: PathBuf,
        /// How much was sent, in bytes.
        sent: u64,
        /// How much it has.
        written: u64,
    },
    /// The container that it runs in could not be started, or used.
    #[error(transparent)]
    Workspace(Box<WorkspaceError>),
}

impl From<WorkspaceError> for AgentServerError {
    fn from(error: WorkspaceError) -> Self {
        Self::Workspace(Box::new(error))
    }
}

impl From<AgentServerError> for WorkspaceError {
    fn from(error: AgentServerError) -> Self {
        match error {
            AgentServerError::Workspace(error) => *error,
            error => Self::Remote(Box::new(error)),
        }
    }
}
