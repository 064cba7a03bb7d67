//! What is said about one command, whichever way it goes.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apptainer_sys::process::Signal;

use super::control::{Control, Outcome, Started};
use super::protocol::{Request, Scope};
use super::stream::Channel;

/// The connection of one command to the agent that runs it.
///
/// As long as there is one of these, the agent knows that somebody holds the command.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// A socket of the command's own.
    Socket(Arc<Control>),
    /// Frames with the command's number.
    Channel(Arc<Channel>),
}

impl Line {
    /// Says something to the command's agent. That nobody is there any more is no error:
    /// the command has ended then.
    pub(super) fn say(&self, request: &Request<'_>) -> io::Result<()> {
        match self {
            Self::Socket(control) => control.say(request),
            Self::Channel(channel) => channel.say(request),
        }
    }

    pub(super) fn signal(&self, signal: Signal, scope: Scope) -> io::Result<()> {
        let number = u8::try_from(signal.number()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.say(&Request::Signal(number, scope))
    }

    /// Waits until it runs, or never will. Cancel-safe.
    pub(super) async fn started(&self) -> io::Result<Result<Started, Outcome>> {
        match self {
            Self::Socket(control) => control.started().await,
            Self::Channel(channel) => Ok(channel.started().await),
        }
    }

    /// Waits for its end. Cancel-safe, and the same answer each time.
    pub(super) async fn outcome(&self) -> io::Result<Outcome> {
        match self {
            Self::Socket(control) => control.outcome().await,
            Self::Channel(channel) => Ok(channel.outcome().await),
        }
    }

    /// What became of it, if that has been told.
    pub(super) fn try_outcome(&self) -> io::Result<Option<Outcome>> {
        match self {
            Self::Socket(control) => control.try_outcome(),
            Self::Channel(channel) => Ok(channel.try_outcome()),
        }
    }

    /// What became of it, if that has been heard of already. Hears nothing itself: what nobody
    /// has heard stays to be told.
    pub(super) fn known_outcome(&self) -> Option<Outcome> {
        match self {
            Self::Socket(control) => control.known_outcome(),
            Self::Channel(channel) => channel.try_outcome(),
        }
    }

    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        Ok(self.try_outcome()?.is_some())
    }

    /// TERM, grace, KILL: of all that the command started, also where the command itself
    /// obeys before the rest does.
    pub(crate) async fn end(&self, grace: Duration) -> io::Result<()> {
        self.say(&Request::Terminate)?;
        if tokio::time::timeout(grace, self.outcome()).await.is_err() {
            self.say(&Request::Kill)?;
            self.outcome().await?;
        }
        Ok(())
    }

    /// Tells when it has ended. For one task at a time.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(control) => control.poll_ended(context),
            Self::Channel(channel) => channel.poll_ended(context).map(Ok),
        }
    }
}
