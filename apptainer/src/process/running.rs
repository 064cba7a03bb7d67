//! A process that is awaited.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use apptainer_sys::process::{Child, Exit, ResourceUsage, Spawn, SpawnError, SpawnStage};

use super::{Ended, Root, end, reaper};

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
    root: Root,
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
        match Root::of(&child) {
            Ok(root) => Ok(Self {
                child: Some(child),
                root,
                on_drop,
                kept: Vec::new(),
            }),
            Err(error) => {
                reaper::adopt(child, true, Vec::new());
                Err(failed(error))
            }
        }
    }

    /// Keeps `value` until the process has ended, even when this is dropped first.
    /// It is then dropped by a thread that may block.
    pub(crate) fn keep(&mut self, value: impl Any + Send) {
        self.kept.push(Box::new(value));
    }

    /// Lets it go on when this is dropped.
    pub(crate) fn let_go(&mut self) {
        self.on_drop = OnDrop::Detach;
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

    /// What signals go to; `None` once it has been waited for.
    pub(crate) fn root(&self) -> Option<&Root> {
        let child = self.child.as_ref()?;
        (!child.is_reaped()).then_some(&self.root)
    }

    /// Something of its own that tells when it has ended.
    pub(crate) fn ended(&self) -> io::Result<Ended> {
        self.root.ended().try_clone()
    }

    /// Lets it end by itself, and has it killed where it does not soon.
    pub(crate) fn expect_end(mut self) {
        if let Some(child) = self.child.take() {
            reaper::adopt(child, true, self.release());
        }
    }

    /// Kills it with all that it started, and waits until it has ended.
    ///
    /// Cancel-safe: the killing is done first.
    pub(crate) async fn kill(&mut self) -> io::Result<Exit> {
        if let Some(root) = self.root() {
            root.kill().await?;
        }
        self.wait().await
    }

    /// Waits until it has ended. Cancel-safe, and the same answer each time.
    pub(crate) async fn wait(&mut self) -> io::Result<Exit> {
        /// How often a debugger is asked whether it has let go.
        const PAUSE: Duration = Duration::from_millis(10);
        // In the runtime of who waits: that in which it was started may be gone.
        self.ended()?.wait().await?;
        let Some(child) = &mut self.child else {
            return Err(io::Error::other("a process that was let go has no status"));
        };
        loop {
            match end::reap_all(child, self.root.was_killed()).await? {
                Some(exit) => return Ok(exit),
                // It has ended, and who traces it has not taken note of that yet.
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// What it has used, once it has been waited for.
    pub(crate) fn usage(&self) -> Option<ResourceUsage> {
        self.child.as_ref()?.usage()
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        end::reap(child, self.root.was_killed())
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
        // An error is the reaper's to meet again: it waits for the same process.
        let has_ended = matches!(self.try_wait(), Ok(Some(_)));
        let kept = self.release();
        let Some(child) = self.child.take() else {
            return;
        };
        if has_ended && kept.is_empty() {
            return;
        }
        let is_killed = self.on_drop == OnDrop::Kill || self.root.was_killed();
        if !has_ended && is_killed {
            let _ = self.root.kill_payload();
        }
        reaper::adopt(child, is_killed, kept);
    }
}
