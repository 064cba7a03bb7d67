//! A process that is awaited.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use apptainer_sys::process::{Child, Exit, Pid, PidFd, Spawn, SpawnError, SpawnStage};
use tokio::io::unix::AsyncFd;

use super::{end, reaper};

/// What becomes of a process that is dropped before it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDrop {
    /// It is killed, with all that it started.
    Kill,
    /// It goes on, and is reaped when it ends.
    Detach,
}

/// A process of ours. Dropped, it is [killed or let go](OnDrop), and reaped by a
/// thread of its own: that needs no runtime.
pub(crate) struct Running {
    child: Option<Child>,
    ended: Ended,
    on_drop: OnDrop,
    kept: Vec<Box<dyn Any + Send>>,
}

impl Running {
    /// Starts it. Must be called in a tokio runtime.
    pub(crate) fn spawn(spawn: Spawn, on_drop: OnDrop) -> Result<Self, SpawnError> {
        let program = spawn.program().to_owned();
        let failed = |source| SpawnError {
            program,
            stage: SpawnStage::Pidfd,
            source,
        };
        if tokio::runtime::Handle::try_current().is_err() {
            let source = io::Error::other("there is no tokio runtime here");
            return Err(failed(source));
        }
        let child = spawn.spawn()?;
        match Ended::of(child.pidfd()) {
            Ok(ended) => Ok(Self {
                child: Some(child),
                ended,
                on_drop,
                kept: Vec::new(),
            }),
            Err(error) => {
                reaper::adopt(child, OnDrop::Kill, Vec::new());
                Err(failed(error))
            }
        }
    }

    /// Keeps `value` until the process has ended, even when this is dropped first.
    /// It is then dropped by a thread that may block.
    pub(crate) fn keep(&mut self, value: impl Any + Send) {
        self.kept.push(Box::new(value));
    }

    /// Gives back what it [keeps](Self::keep).
    pub(crate) fn release(&mut self) -> Vec<Box<dyn Any + Send>> {
        std::mem::take(&mut self.kept)
    }

    /// Our ends of its pipes: standard input, output and error.
    pub(crate) fn take_pipes(&mut self) -> [Option<OwnedFd>; 3] {
        match &mut self.child {
            Some(child) => {
                [&mut child.stdin, &mut child.stdout, &mut child.stderr].map(Option::take)
            }
            None => [None, None, None],
        }
    }

    /// Its pid, and a hold on it.
    pub(crate) fn id(&self) -> Option<(Pid, &PidFd)> {
        let child = self.child.as_ref()?;
        Some((child.pid(), child.pidfd()))
    }

    /// Something of its own that tells when it has ended.
    pub(crate) fn ended(&self) -> io::Result<Ended> {
        self.ended.try_clone()
    }

    /// Waits until it has ended. Cancel-safe, and the same answer each time.
    pub(crate) async fn wait(&mut self) -> io::Result<Exit> {
        self.ended.wait().await?;
        self.try_wait()?
            .ok_or_else(|| io::Error::other("a process that has ended has no status"))
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        child.try_wait()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("child", &self.child)
            .field("on_drop", &self.on_drop)
            .finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let kept = self.release();
        // An error is the reaper's to meet again: it waits for the same process.
        let has_ended = matches!(child.try_wait(), Ok(Some(_)));
        if has_ended && kept.is_empty() {
            return;
        }
        if !has_ended && self.on_drop == OnDrop::Kill {
            let _ = end::kill_payload(child.pid(), child.pidfd());
        }
        reaper::adopt(child, self.on_drop, kept);
    }
}

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
