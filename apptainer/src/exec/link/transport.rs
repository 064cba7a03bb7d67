//! How an agent is reached: on this machine, or over a stream of bytes.

use std::sync::Arc;

use apptainer_sys::process::Pid;

use super::connection::Connection;
use super::stream::Mux;
use super::{Carrier, LinkError};
use crate::exec::ExecError;

/// An agent, and the way to it. It ends with the last of these, and with it what it has
/// started.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// By a socket, over which descriptors are passed.
    Local(Arc<Connection>),
    /// By frames in a stream of bytes.
    Stream(Arc<Mux>),
}

impl Transport {
    /// The agent's pid, as the host numbers it, where the host can see it.
    pub(super) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Local(connection) => connection.pid(),
            Self::Stream(_) => None,
        }
    }

    /// Whether the agent is known to have ended.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Local(connection) => connection.is_lost(),
            Self::Stream(mux) => mux.loss().is_some(),
        }
    }

    /// Takes note that nothing more is said of a command; as what that is to be told.
    pub(super) fn note_silence(&self) -> ExecError {
        match self {
            Self::Local(connection) => connection.note_silence(),
            Self::Stream(mux) => mux.loss().unwrap_or(LinkError::Lost).into(),
        }
    }

    /// Takes note that the agent has ended, if it has.
    pub(super) fn note_if_ended(&self) {
        if let Self::Local(connection) = self {
            connection.note_if_ended();
        }
    }

    /// What its container was given the agent's program as, where that is known.
    pub(super) fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Local(connection) => connection.carrier(),
            Self::Stream(_) => None,
        }
    }

    /// The connection, for what takes one on this machine.
    pub(super) fn local(&self, doing: &'static str) -> Result<&Arc<Connection>, LinkError> {
        match self {
            Self::Local(connection) => Ok(connection),
            Self::Stream(_) => Err(LinkError::OverStream { doing }),
        }
    }

    /// Whether the agent answers. Cancel-safe.
    pub(super) async fn ping(&self) -> Result<(), LinkError> {
        match self {
            Self::Local(connection) => connection.ping().await,
            Self::Stream(mux) => mux.ping().await,
        }
    }

    /// Ends the agent, and all that it has started, and waits until they are gone.
    pub(super) async fn close(&self) -> Result<(), LinkError> {
        match self {
            Self::Local(connection) => connection.close().await,
            Self::Stream(mux) => mux.close().await,
        }
    }
}
