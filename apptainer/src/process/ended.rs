//! Waiting for processes without blocking.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apptainer_sys::process::PidFd;
use tokio::io::unix::AsyncFd;

/// Tells when a process has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pidfd: AsyncFd<Arc<PidFd>>,
}

impl Ended {
    /// Watches the process. Must be called in a tokio runtime.
    pub(crate) fn of(pidfd: &PidFd) -> io::Result<Self> {
        Self::sharing(Arc::new(pidfd.try_clone()?))
    }

    /// The same without a descriptor of its own, for what is kept long. There may be one at a time
    /// for a `pidfd` in a runtime: another is an error.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; a PidFd owns \
            one descriptor from first to last"
    )]
    pub(crate) fn sharing(pidfd: Arc<PidFd>) -> io::Result<Self> {
        let interest = tokio::io::Interest::READABLE;
        Ok(Self {
            pidfd: AsyncFd::with_interest(pidfd, interest)?,
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
