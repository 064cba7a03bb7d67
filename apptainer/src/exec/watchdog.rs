//! Ending a command whose time is over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::link::Line;
use crate::process::Root;

/// Ends a command when its time is over; dropped, it no longer does.
#[derive(Debug)]
pub(super) struct Watchdog {
    task: tokio::task::JoinHandle<()>,
}

impl Watchdog {
    pub(super) fn of_root(
        root: Root,
        limit: Duration,
        grace: Duration,
        has_fired: Arc<AtomicBool>,
    ) -> Self {
        Self::start(async move {
            tokio::time::sleep(limit).await;
            if root.ended().pidfd().has_ended().unwrap_or(true) {
                return Ok(());
            }
            has_fired.store(true, Ordering::Release);
            root.end(grace).await
        })
    }

    pub(super) fn of_remote(
        control: Line,
        limit: Duration,
        grace: Duration,
        has_fired: Arc<AtomicBool>,
    ) -> Self {
        Self::start(async move {
            tokio::time::sleep(limit).await;
            if control.has_ended()? {
                return Ok(());
            }
            has_fired.store(true, Ordering::Release);
            control.end(grace).await
        })
    }

    fn start(ending: impl Future<Output = io::Result<()>> + Send + 'static) -> Self {
        let task = tokio::spawn(async {
            if let Err(error) = ending.await {
                tracing::warn!(%error, "cannot end a command whose time is over");
            }
        });
        Self { task }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.task.abort();
    }
}
