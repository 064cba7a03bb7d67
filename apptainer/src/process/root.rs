//! A run of `apptainer` as something to signal and to kill.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apptainer_sys::process::{Child, Member, Pid, Signal};

use super::{Ended, end};

/// A process of ours that others below it serve, or are served by. Clones stand for
/// the same process, which somebody else waits for.
#[derive(Debug)]
pub(crate) struct Root {
    pid: Pid,
    ended: Ended,
    was_killed: Arc<AtomicBool>,
}

impl Root {
    /// Must be called in a tokio runtime.
    pub(super) fn of(child: &Child) -> io::Result<Self> {
        Ok(Self {
            pid: child.pid(),
            ended: Ended::of(child.pidfd())?,
            was_killed: Arc::default(),
        })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            pid: self.pid,
            ended: self.ended.try_clone()?,
            was_killed: Arc::clone(&self.was_killed),
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Tells when it has ended.
    pub(crate) fn ended(&self) -> &Ended {
        &self.ended
    }

    /// Whether anybody has tried to kill it.
    pub(super) fn was_killed(&self) -> bool {
        self.was_killed.load(Ordering::Acquire)
    }

    /// Sends a signal to what runs in the container.
    pub(crate) fn signal_payload(&self, signal: Signal) -> io::Result<()> {
        end::signal_payload(self.pid, self.ended.pidfd(), signal)
    }

    /// Kills what runs in the container, so that it ends by itself.
    pub(crate) fn kill_payload(&self) -> io::Result<()> {
        self.begin_to_kill().map(drop)
    }

    fn begin_to_kill(&self) -> io::Result<Vec<Member>> {
        self.was_killed.store(true, Ordering::Release);
        end::kill_payload(self.pid, self.ended.pidfd())
    }

    /// Kills what runs in the container and waits until it has ended, which it is
    /// made to where it does not by itself.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        let killed = self.begin_to_kill()?;
        let ended = tokio::time::timeout(end::CLEAN_UP, self.ended.wait()).await;
        if ended.is_err() {
            end::kill_everything(self.pid, self.ended.pidfd())?;
            self.ended.wait().await?;
        }
        end::gone(&killed).await
    }

    /// TERM, grace, KILL.
    pub(crate) async fn end(&self, grace: Duration) -> io::Result<()> {
        // What does not obey, though the command itself does, is killed in the end.
        self.was_killed.store(true, Ordering::Release);
        let sent = self.signal_payload(Signal::TERM);
        let obeyed = tokio::time::timeout(grace, self.ended.wait()).await;
        if sent.is_ok() && obeyed.is_ok() {
            return Ok(());
        }
        self.kill().await
    }
}
