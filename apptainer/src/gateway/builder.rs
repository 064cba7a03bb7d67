//! How a gateway is to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::GatewayError;
use super::events::Events;
use super::listen::{Breakable, Socket, bind_unix};
use super::routes::router;
use super::running::{Gateway, Place};
use super::state::{MOST_SOCKETS, Shared};
use crate::Workspace;
use crate::api_key::ApiKey;

/// How a gateway is to be: from [`Gateway::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is served until it is started"]
pub struct GatewayBuilder {
    workspace: Workspace,
    key: Option<ApiKey>,
    at: At,
    is_exposed: bool,
    max_body: u64,
    max_concurrent: usize,
    max_timeout: Duration,
    max_history: usize,
}

#[derive(Debug, Clone)]
enum At {
    Address(SocketAddr),
    Path(PathBuf),
}

impl GatewayBuilder {
    pub(super) fn new(workspace: &Workspace) -> Self {
        Self {
            workspace: workspace.clone(),
            key: None,
            at: At::Address((Ipv4Addr::LOCALHOST, 0).into()),
            is_exposed: false,
            max_body: 16 << 30,
            max_concurrent: 256,
            max_timeout: Duration::from_secs(24 * 3600),
            max_history: 256 << 20,
        }
    }

    /// The key that callers need, of visible ASCII characters; one of 244 random bits otherwise.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(ApiKey::new(key));
        self
    }

    /// Listens on this address: a free port of 127.0.0.1 otherwise. Port 0 stands for a free one.
    pub fn bind(mut self, address: impl Into<SocketAddr>) -> Self {
        self.at = At::Address(address.into());
        self
    }

    /// Listens on a socket at this path, where nothing may be: one that only this user can connect
    /// to. It is removed at the end.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.at = At::Path(path.into());
        self
    }

    /// Lets it listen on an address that is not a loopback one. What is said there, the key too, is not
    /// encrypted.
    pub fn expose(mut self) -> Self {
        self.is_exposed = true;
        self
    }

    /// How large the body of an upload may be: 16 GiB otherwise. It is not held in memory. Others may
    /// have 16 MiB.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many commands may run at a time: 256 otherwise. More are answered with 503.
    pub fn max_concurrent(mut self, commands: usize) -> Self {
        self.max_concurrent = commands;
        self
    }

    /// The longest timeout that a command can have, in whole seconds: a day otherwise. A longer one is
    /// made this one, which the answer tells.
    pub fn max_timeout(mut self, limit: Duration) -> Self {
        self.max_timeout = limit;
        self
    }

    /// How much of what commands wrote is kept in memory: 256 MiB otherwise, and never more than 10 000
    /// events.
    pub fn max_history(mut self, bytes: usize) -> Self {
        self.max_history = bytes;
        self
    }

    /// Listens, and serves until what is returned is stopped or dropped.
    ///
    /// # Errors
    ///
    /// It cannot listen there, or is not to without [`expose`](Self::expose); the key cannot be used.
    pub async fn start(self) -> Result<Gateway, GatewayError> {
        let key = self.key.unwrap_or_else(ApiKey::generate);
        if !key.fits_header() {
            return Err(GatewayError::Key);
        }
        let (socket, place) = match self.at {
            At::Address(address) => {
                if !address.ip().to_canonical().is_loopback() && !self.is_exposed {
                    return Err(GatewayError::Exposed { address });
                }
                let failed = |source| GatewayError::Bind { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                (Socket::Tcp(listener), Place::Address(local))
            }
            At::Path(path) => {
                let bound = bind_unix(&path);
                let failed = |source| GatewayError::Socket { path, source };
                let (socket, bound) = bound.map_err(failed)?;
                (socket, Place::Path(bound))
            }
        };
        let commands = self.max_concurrent.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            workspace: self.workspace,
            key,
            events: Events::new(self.max_history),
            turns: Arc::new(Semaphore::new(commands)),
            sockets: Arc::new(Semaphore::new(MOST_SOCKETS)),
            max_timeout: self.max_timeout,
            closing: CancellationToken::new(),
            dead: CancellationToken::new(),
            since: Instant::now(),
            asked: AtomicU64::new(0),
        });
        let max_body = usize::try_from(self.max_body).unwrap_or(usize::MAX);
        let listener = Breakable {
            socket,
            dead: shared.dead.clone(),
        };
        let served = axum::serve(listener, router(Arc::clone(&shared), max_body));
        let served = served.with_graceful_shutdown(shared.closing.clone().cancelled_owned());
        let served = tokio::spawn(async move { served.await });
        Ok(Gateway::new(shared, place, served, commands))
    }
}
