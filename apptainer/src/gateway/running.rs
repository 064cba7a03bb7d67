//! A gateway that serves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::listen::Bound;
use super::state::Shared;
use super::{GatewayBuilder, GatewayError};
use crate::Workspace;

/// A server over a workspace, which serves until it is [stopped](Self::stop) or dropped: see the
/// [module](super).
///
/// Dropped, it breaks off its connections and kills the commands that it runs. The workspace goes on.
pub struct Gateway {
    shared: Arc<Shared>,
    place: Place,
    served: JoinHandle<io::Result<()>>,
    /// How many commands may run.
    commands: usize,
}

/// Where it listens.
#[derive(Debug)]
pub(super) enum Place {
    Address(SocketAddr),
    Path(Bound),
}

/// How long commands may take to end, and callers to read what is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

impl Gateway {
    /// A gateway to a workspace.
    pub fn builder(workspace: &Workspace) -> GatewayBuilder {
        GatewayBuilder::new(workspace)
    }

    pub(super) fn new(
        shared: Arc<Shared>,
        place: Place,
        served: JoinHandle<io::Result<()>>,
        commands: usize,
    ) -> Self {
        Self {
            shared,
            place,
            served,
            commands,
        }
    }

    /// What clients take as `host`. With a [socket](GatewayBuilder::unix_socket) that is
    /// `http://localhost`, and the client has to be told of the socket besides.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Address(address) => format!("http://{address}"),
            Place::Path(_) => "http://localhost".to_owned(),
        }
    }

    /// The address that it listens on, unless that is a socket's path.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(address) => Some(*address),
            Place::Path(_) => None,
        }
    }

    /// The path of the socket that it listens on, if it does.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Address(_) => None,
            Place::Path(bound) => Some(&bound.0),
        }
    }

    /// The key that callers need, in the header `X-Session-API-Key`.
    pub fn api_key(&self) -> &str {
        self.shared.key.text()
    }

    /// Ends it: nothing is accepted any more, commands are told to end (`SIGTERM`) and killed a second
    /// later, their callers are answered, and what is on its way for longer than five seconds is broken
    /// off. When this returns nothing of it is left; the workspace goes on. Dropping the future does
    /// the same at once.
    ///
    /// # Errors
    ///
    /// Serving failed before.
    pub async fn stop(mut self) -> Result<(), GatewayError> {
        let shared = Arc::clone(&self.shared);
        shared.closing.cancel();
        let all = u32::try_from(self.commands).unwrap_or(u32::MAX);
        let ended = async {
            // Each command holds one of them.
            let _ = shared.turns.acquire_many(all).await;
            (&mut self.served).await
        };
        let served = if let Ok(served) = tokio::time::timeout(PATIENCE, ended).await {
            served
        } else {
            shared.dead.cancel();
            let _ = shared.turns.acquire_many(all).await;
            (&mut self.served).await
        };
        served
            .map_err(io::Error::other)
            .flatten()
            .map_err(GatewayError::Serve)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.dead.cancel();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Gateway");
        shown.field("url", &self.url());
        if let Some(path) = self.socket_path() {
            shown.field("socket_path", &path);
        }
        shown.finish_non_exhaustive()
    }
}
