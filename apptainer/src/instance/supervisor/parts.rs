//! What an instance stands and falls with, and which of it was lost.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use apptainer_sys::process::Exit;

use crate::exec::{Child, ExecError};
use crate::instance::state::Lost;
use crate::process::Ended;

/// What an instance runs, while it does.
#[derive(Debug)]
pub(super) enum Payload {
    Nothing,
    /// A command of its agent's.
    Command(Box<Child>),
    /// A process that is nobody's we know.
    Process(Ended),
}

/// What an instance cannot be without.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) master: Ended,
    pub(super) first: Ended,
    pub(super) agent: Option<Ended>,
    /// What serves its file system.
    pub(super) servers: Vec<Ended>,
}

/// How long Apptainer may take to clean up behind a container.
const CLEAN_UP: Duration = Duration::from_secs(4);

impl Payload {
    /// Waits until it has ended, and says how, as far as anybody can tell; for ever, where there is
    /// none. Cancel-safe.
    pub(super) async fn wait(&mut self) -> Result<Option<Exit>, ExecError> {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Command(child) => Ok(Some(child.wait().await?.exit())),
            Self::Process(process) => {
                /// Within this its parent has noticed, without which the kernel does not tell.
                const MOMENT: Duration = Duration::from_millis(10);
                process.wait().await?;
                tokio::time::sleep(MOMENT).await;
                Ok(process.pidfd().exit()?)
            }
        }
    }
}

impl Parts {
    /// Which of them was lost, of an instance with this record: what ended first takes others
    /// with it, and not all of them are seen to end in that order.
    pub(super) async fn judge(&self, record: &Path) -> Lost {
        /// How long what ends together may take.
        const MOMENT: Duration = Duration::from_millis(100);
        let first = tokio::time::timeout(MOMENT, self.first.wait()).await;
        if first.is_ok() {
            let master = tokio::time::timeout(CLEAN_UP, self.master.wait()).await;
            // A master that lives ends what serves its files, and removes the record, in the end.
            // That is removed by whoever starts another, too, when its master was killed.
            let is_cleared = !record.exists() && self.servers.iter().all(has_ended);
            return match master {
                Ok(_) if !is_cleared => Lost::Master,
                _ => Lost::Container,
            };
        }
        if has_ended(&self.master) {
            Lost::Master
        } else if self.has_lost_server() {
            Lost::FileSystem
        } else {
            Lost::Agent
        }
    }

    /// Whether one of them has ended.
    pub(super) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = [&self.master, &self.first];
        let parts = parts.into_iter().chain(&self.agent).chain(&self.servers);
        for part in parts {
            if let Poll::Ready(ended) = part.poll(context) {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }

    /// Whether what serves its files has ended, or does any moment.
    pub(super) async fn loses_server(&self) -> bool {
        const MOMENT: Duration = Duration::from_millis(10);
        let any = poll_fn(|context| {
            let mut servers = self.servers.iter();
            if servers.any(|server| server.poll(context).is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::time::timeout(MOMENT, any).await.is_ok()
    }

    fn has_lost_server(&self) -> bool {
        self.servers.iter().any(has_ended)
    }
}

fn has_ended(process: &Ended) -> bool {
    process.pidfd().has_ended().unwrap_or(false)
}
