//! Being told when a log changes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Tells when one of two logs changes.
///
/// The kernel of a node does not see what others write to a shared file system; those who
/// write to an instance's logs are on its node.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches those that are there. Must be called in a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd has \
            one from first to last"
    )]
    pub(super) fn of(logs: &[PathBuf]) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        for log in logs {
            match inotify::add_watch(&inotify, log, WatchFlags::MODIFY) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let interest = tokio::io::Interest::READABLE;
        Ok(Self {
            inotify: AsyncFd::with_interest(inotify, interest)?,
        })
    }

    /// Waits for a change since the last time. Cancel-safe.
    pub(super) async fn changed(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_changed(context)).await
    }

    pub(super) fn poll_changed(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.inotify.poll_read_ready(context))?;
            let mut has_changed = false;
            let mut buffer = [0; 4096];
            loop {
                match rustix::io::read(self.inotify.get_ref(), &mut buffer) {
                    Ok(_) => has_changed = true,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            guard.clear_ready();
            if has_changed {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
