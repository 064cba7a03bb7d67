//! `Link`, as callers have it.

use std::ffi::OsStr;

use apptainer_sys::process::Pid;

use super::LinkError;
use super::launch::launch;
use super::transport::Transport;
use crate::container::Container;
use crate::exec::{Command, ExecError, Way};

/// A container that is there for commands: nothing runs in it but an agent, which starts
/// them.
///
/// It costs one `apptainer exec`, and each command after that about what a process on the
/// host costs. Dropped with all of its commands, it ends; [`close`](Self::close) also
/// waits for that. An agent elsewhere is linked to [over a stream](Self::over) of bytes.
///
/// ```no_run
/// # async fn example(image: apptainer::Image) -> Result<(), Box<dyn std::error::Error>> {
/// let link = image.container().link().await?;
/// for number in 0..1000 {
///     let status = link.command("test").args(["-e", &format!("/data/{number}")]).status().await?;
///     println!("{number}: {status}");
/// }
/// link.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    pub(super) transport: Transport,
}

impl Container {
    /// Makes a container for commands.
    ///
    /// Unlike those of [`command`](Self::command) they share it: its processes, its
    /// `/tmp`, its writable layer. Their environment and working directory are what an
    /// `apptainer exec` would have given them when the link was made.
    ///
    /// Dropping the future ends what has been started.
    pub async fn link(&self) -> Result<Link, ExecError> {
        let connection = launch(&self.place()).await?;
        let transport = Transport::Local(connection);
        Ok(Link { transport })
    }
}

impl Link {
    /// A command in the container.
    ///
    /// The program is a path in it, or a name on its `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(Way::Link(self.transport.clone()), program)
    }

    /// The agent's pid, as the host numbers it, where the host can see it.
    pub fn pid(&self) -> Option<Pid> {
        self.transport.pid()
    }

    /// Whether the agent answers. Cancel-safe.
    pub async fn ping(&self) -> Result<(), LinkError> {
        self.transport.ping().await
    }

    /// Kills what still runs, and waits until all of it is gone: processes and mounts.
    ///
    /// Clones of the link, and commands, find it [lost](LinkError::Lost).
    pub async fn close(self) -> Result<(), LinkError> {
        self.transport.close().await
    }
}
