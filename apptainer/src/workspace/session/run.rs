//! Lines that a session runs.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::shell::{Event, Shell};
use super::{CommandResult, Session, WorkspaceError};
use crate::exec::{Chunk, Source};

/// A line for a session's shell: from [`Session::execute`].
///
/// Awaited, it is run when it is its turn, and what it wrote collected. Dropping that future
/// interrupts the line; the next one waits until it has ended.
#[derive(Debug, Clone)]
#[must_use = "a line is not run until it is awaited"]
pub struct SessionCommand {
    session: Session,
    line: Vec<u8>,
    timeout: Option<Duration>,
}

/// A line that a session runs, to be read while it does. Dropped before its end, it is interrupted.
#[derive(Debug)]
pub struct SessionRun {
    session: Session,
    /// Until this is dropped.
    shell: Option<OwnedMutexGuard<Shell>>,
    deadline: Option<Instant>,
    phase: Phase,
    /// What was read and not yet given out.
    left: VecDeque<Chunk>,
    end: Option<i32>,
    timed_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Interrupted,
    InterruptedAgain,
    Killed,
    Over,
}

/// How long a line may take to end when it is interrupted, each time.
const GRACE: Duration = Duration::from_millis(500);

impl SessionCommand {
    pub(super) fn new(session: &Session, line: Vec<u8>) -> Self {
        Self {
            session: session.clone(),
            line,
            timeout: None,
        }
    }

    /// Interrupts it when it takes longer, counted from when it is its turn, and again half a second
    /// later. Where it has not ended after another half the whole session is killed, for there is
    /// nothing else that ends all of a line. What it wrote is kept.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Has it run when it is its turn, to be read as it goes.
    ///
    /// Cancel-safe: dropped before it is its turn, it is not run.
    pub async fn start(self) -> Result<SessionRun, WorkspaceError> {
        if self.line.contains(&0) {
            return Err(WorkspaceError::Nul);
        }
        let mut shell = self.session.shared.shell.clone().lock_owned().await;
        if !shell.give_up().await.map_err(self.session.failed())? || !self.session.is_open() {
            return Err(self.session.has_ended());
        }
        if shell.is_haunted {
            // With the second answer the agent has done all that it was asked before the first.
            for _ in 0..2 {
                self.session.shared.service.answers().await?;
            }
            shell.is_haunted = false;
        }
        // What was left in the background has written that to nobody.
        let left = shell.outputs.take().into();
        shell.give(&self.line);
        Ok(SessionRun {
            session: self.session,
            shell: Some(shell),
            deadline: self.timeout.map(|limit| Instant::now() + limit),
            phase: Phase::Running,
            left,
            end: None,
            timed_out: false,
        })
    }
}

impl IntoFuture for SessionCommand {
    type Output = Result<CommandResult, WorkspaceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.start().await?.finish().await })
    }
}

impl SessionRun {
    /// What it writes next; `None` once it has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Chunk, WorkspaceError>> {
        loop {
            if let Some(chunk) = self.left.pop_front() {
                return Some(Ok(chunk));
            }
            if self.phase == Phase::Over {
                return None;
            }
            let shell = self.shell.as_mut()?;
            let Some(event) = within(self.deadline, shell.next()).await else {
                if let Err(error) = self.is_late() {
                    self.phase = Phase::Over;
                    return Some(Err(error));
                }
                continue;
            };
            match event {
                Ok(Event::Wrote(chunk)) => return Some(Ok(chunk)),
                Ok(Event::Ended(code)) => self.end(Some(code)),
                Ok(Event::Gone) => {
                    let code = self.session.exit_code().await;
                    self.end(code);
                }
                Err(error) => {
                    self.phase = Phase::Over;
                    return Some(Err(self.session.failed()(error)));
                }
            }
        }
    }

    /// Waits for its end, and collects what it still writes.
    ///
    /// Where the shell itself exited with it, the code is the shell's, and the session has ended.
    pub async fn finish(mut self) -> Result<CommandResult, WorkspaceError> {
        let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
        while let Some(chunk) = self.next().await {
            let Chunk { source, bytes } = chunk?;
            match source {
                Source::Stdout => stdout.extend_from_slice(&bytes),
                Source::Stderr => stderr.extend_from_slice(&bytes),
            }
        }
        let exit_code = match (self.timed_out, self.end) {
            (false, Some(code)) => code,
            (false, None) => return Err(self.session.has_ended()),
            (true, _) => -1,
        };
        Ok(CommandResult {
            exit_code,
            stdout: stdout.freeze(),
            stderr: stderr.freeze(),
            timed_out: self.timed_out,
        })
    }

    /// Interrupts it: see [`Session::interrupt`].
    pub fn interrupt(&self) -> Result<(), WorkspaceError> {
        self.session.interrupt()
    }

    /// All that it wrote by its end is in the pipes then.
    fn end(&mut self, code: Option<i32>) {
        self.phase = Phase::Over;
        self.end = code;
        if let Some(shell) = &mut self.shell {
            self.left.extend(shell.outputs.take());
        }
    }

    /// Its time is over.
    fn is_late(&mut self) -> Result<(), WorkspaceError> {
        self.timed_out = true;
        // One may get lost: see `Session::interrupt`.
        let next = match self.phase {
            Phase::Running => Some(Phase::Interrupted),
            Phase::Interrupted => Some(Phase::InterruptedAgain),
            _ => None,
        };
        if let Some(phase) = next {
            self.phase = phase;
            self.deadline = Some(Instant::now() + GRACE);
            return self.session.interrupt();
        }
        self.phase = Phase::Killed;
        self.deadline = None;
        self.session.kill();
        Ok(())
    }
}

/// `None` when the deadline comes first, if there is one.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

impl Drop for SessionRun {
    fn drop(&mut self) {
        let Some(mut shell) = self.shell.take().filter(|_| self.phase != Phase::Over) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shell.give_up().await });
        }
    }
}

impl Session {
    /// The code of its shell, which says nothing any more.
    async fn exit_code(&self) -> Option<i32> {
        let ended = self.child().watch().ok()?;
        if tokio::time::timeout(2 * GRACE, ended).await.is_err() {
            self.close().await.ok()?;
        }
        let status = self.child().try_wait().ok()??;
        Some(CommandResult::code(status.exit()))
    }

    fn has_ended(&self) -> WorkspaceError {
        WorkspaceError::SessionEnded {
            name: self.shared.name.clone(),
        }
    }
}
