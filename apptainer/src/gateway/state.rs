//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Refusal;
use super::events::Events;
use super::run::Run;
use crate::Workspace;
use crate::agent_server::wire::{BashCommand, ExecuteBashRequest};
use crate::api_key::ApiKey;

/// How many sockets there may be.
pub(super) const MOST_SOCKETS: usize = 50;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) workspace: Workspace,
    pub(super) key: ApiKey,
    pub(super) events: Events,
    /// One for each command that may run.
    pub(super) turns: Arc<Semaphore>,
    pub(super) sockets: Arc<Semaphore>,
    pub(super) max_timeout: Duration,
    /// Nothing is to begin any more, and what runs is to end.
    pub(super) closing: CancellationToken,
    /// Nothing is waited for any more.
    pub(super) dead: CancellationToken,
    pub(super) since: Instant,
    /// When something was asked for last, in seconds after that.
    pub(super) asked: AtomicU64,
}

impl Shared {
    pub(super) fn note_asked(&self) {
        self.asked
            .store(self.since.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Starts a command.
    pub(super) fn start(self: &Arc<Self>, request: ExecuteBashRequest) -> Result<Started, Refusal> {
        self.note_asked();
        let unavailable = |detail| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        if self.closing.is_cancelled() {
            return Err(unavailable("The gateway is shutting down"));
        }
        let turn = Arc::clone(&self.turns).try_acquire_owned();
        let turn = turn.map_err(|_| unavailable("Too many commands run; try again later"))?;
        let most = i64::try_from(self.max_timeout.as_secs()).unwrap_or(i64::MAX);
        let timeout = request.timeout.min(most);
        let stop = self.closing.child_token();
        let (line, cwd) = (request.command, request.cwd);
        let command = self.events.begin(line, cwd, timeout, stop.clone());
        let run = Run {
            shared: Arc::clone(self),
            command: command.clone(),
            stop: stop.clone(),
            turn,
        };
        tokio::spawn(run.run());
        Ok(Started { command, stop })
    }
}

/// A command that has been started.
pub(super) struct Started {
    pub(super) command: BashCommand,
    stop: CancellationToken,
}

impl Started {
    /// Has it end when this is dropped.
    pub(super) fn ends_with(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }
}
