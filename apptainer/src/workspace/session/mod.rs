//! Shells that keep their state.

mod builder;
mod output;
mod run;
mod shell;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use builder::SessionBuilder;
pub use run::{SessionCommand, SessionRun};

use super::{CommandResult, WorkspaceError};
use crate::Child;
use crate::instance::Service;
use shell::{Progress, Shell};

/// A shell in a workspace that runs one line after the other, and keeps its working directory,
/// variables, functions and background jobs in between.
///
/// A handle, cheap to clone: from [`Workspace::session`](super::Workspace::session). It is an
/// interactive shell, so that a syntax error or an [interrupt](Self::interrupt) ends a line and not
/// the session; it reads no startup files. The session is open until it is [closed](Self::close),
/// its shell exits, or the workspace ends.
///
/// What a line runs has an empty standard input, and its two outputs are kept apart. What is left in
/// the background writes to the line that is run then. A program that takes a terminal is run by
/// [`Command::terminal`](crate::Command::terminal).
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    child: Arc<Mutex<Child>>,
    /// Whose turn it is.
    shell: Arc<tokio::sync::Mutex<Shell>>,
    /// How far that is.
    progress: Arc<Progress>,
    service: Service,
}

impl Session {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A line, or several, for its shell. One is run at a time, in the order in which they are
    /// awaited.
    pub fn execute(&self, line: impl Into<Vec<u8>>) -> SessionCommand {
        SessionCommand::new(self, line.into())
    }

    /// Interrupts the line that it runs, if it does, as Ctrl-C does: what does not care goes on.
    ///
    /// As with Ctrl-C, where it comes between two programs a shell may not heed it: see whether the
    /// line ends, and ask again. A trap that a line sets for `SIGINT` lasts for that line.
    pub fn interrupt(&self) -> Result<(), WorkspaceError> {
        Ok(self.shared.progress.interrupt(&self.shared.child)?)
    }

    /// Whether its shell runs.
    pub fn is_open(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Ends it with all that it runs, and waits for that. Cancel-safe: the killing is done first.
    pub async fn close(&self) -> Result<(), WorkspaceError> {
        self.kill();
        let ended = self.child().watch()?;
        ended.await.map_err(self.failed())
    }

    pub(super) fn kill(&self) {
        // Whose agent is gone is gone, too.
        let _ = self.child().start_kill();
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> WorkspaceError + use<> {
        let name = self.shared.name.clone();
        |source| WorkspaceError::Session { name, source }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        let child = self.shared.child.lock();
        child.unwrap_or_else(PoisonError::into_inner)
    }
}
