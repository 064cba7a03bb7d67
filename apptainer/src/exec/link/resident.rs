//! Agents that an instance is started with: its first program, which starts all others.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use apptainer_sys::process::{Seqpacket, Spawn};

use super::connection::{Connection, hear};
use super::launch::{LINK, LISTENER, attach, greet, io_error, token, welcome};
use super::protocol::Orphans;
use super::socket::Listening;
use super::transport::Transport;
use super::{Link, LinkError};
use crate::exec::{Command, Defaults, Way};
use crate::process::Ended;

/// An agent that somebody starts as the first program of an instance. It goes on without its
/// callers, and is found again at a socket; commands end with their callers unless they are let
/// go.
#[derive(Debug)]
pub(crate) struct Resident {
    socket: Seqpacket,
    theirs: Option<OwnedFd>,
    listening: Listening,
}

/// The agent's program; none for processors that there is none for.
pub(crate) fn resident_program() -> Option<&'static [u8]> {
    super::program::PROGRAM
}

impl Resident {
    /// One that is to listen at this path, in a folder that only its user may enter.
    pub(crate) fn at(path: &Path) -> Result<Self, LinkError> {
        let (socket, theirs) = Seqpacket::pair().map_err(io_error("make a socket"))?;
        socket.tell_senders().map_err(io_error("make a socket"))?;
        let token = token().map_err(io_error("name the exec agent"))?;
        greet(&socket, Orphans::Keep, &token)?;
        Ok(Self {
            socket,
            theirs: Some(theirs.into()),
            listening: Listening::at(path)?,
        })
    }

    /// What it is to be told on its command line.
    pub(crate) fn arguments() -> [OsString; 3] {
        [LINK.to_string(), LISTENER.to_string(), "relay".to_owned()].map(OsString::from)
    }

    /// Gives `spawn`, by which it is started at any remove, what it takes.
    pub(crate) fn lend(&mut self, spawn: &mut Spawn) -> Result<(), LinkError> {
        let listener = self.listening.listener();
        let listener = listener.map_err(io_error("make a socket"))?;
        spawn.inherit(listener, LISTENER);
        if let Some(theirs) = self.theirs.take() {
            spawn.inherit(theirs, LINK);
        }
        Ok(())
    }

    /// The way to it, once it runs. This does not tell that it never will, which whoever was to
    /// start it knows, and why: what serves the container may have its sockets open, too.
    pub(crate) async fn link(self) -> Result<Link, LinkError> {
        let heard = match hear(&self.socket).await {
            Err(LinkError::Lost) => std::future::pending().await,
            heard => heard?,
        };
        let agent = welcome(heard)?;
        let address = Some(self.listening.keep());
        let connection = Connection::new(self.socket, None, address, agent);
        Ok(Link::resident(connection))
    }
}

impl Link {
    /// Finds an agent again that an instance was started with.
    pub(crate) async fn attach_resident(socket: &Path) -> Result<Self, LinkError> {
        attach(socket).await.map(Self::resident)
    }

    /// A command in the container that is like this.
    pub(crate) fn command_like(&self, program: impl AsRef<OsStr>, defaults: Defaults) -> Command {
        Command::like(defaults, Way::Link(self.transport.clone()), program)
    }

    /// Tells when its agent has ended, where the host can see it. For one that keeps it.
    pub(crate) fn ended(&self) -> io::Result<Option<Ended>> {
        let Transport::Local(connection) = &self.transport else {
            return Ok(None);
        };
        let pidfd = connection.pidfd().map(Arc::clone);
        pidfd.map(Ended::sharing).transpose()
    }

    fn resident(connection: Connection) -> Self {
        Self::new(Arc::new(connection.ending_commands()))
    }
}
