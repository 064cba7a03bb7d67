//! Waiting for processes without blocking.

use std::io;
use std::task::{Context, Poll, ready};

use apptainer_sys::process::PidFd;
use tokio::io::unix::AsyncFd;

/// Tells when a process has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pidfd: AsyncFd<PidFd>,
}

impl Ended {
    /// Watches the process. Must be called in a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; a PidFd owns \
            one descriptor from first to last"
    )]
    pub(crate) fn of(pidfd: &PidFd) -> io::Result<Self> {
        let interest = tokio::io::Interest::READABLE;
        Ok(Self {
            pidfd: AsyncFd::with_interest(pidfd.try_clone()?, interest)?,
        })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Self::of(self.pidfd.get_ref())
    }

    /// Waits until it has ended. Cancel-safe.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pidfd.poll_read_ready(context))?.retain_ready();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn pidfd(&self) -> &PidFd {
        self.pidfd.get_ref()
    }
}
