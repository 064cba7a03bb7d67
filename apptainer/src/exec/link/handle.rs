//! `Link`, as callers have it.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use apptainer_sys::process::Pid;

use super::connection::Connection;
use super::launch::attach;
use super::transport::Transport;
use super::{Carrier, LinkError, Remote};
use crate::exec::{Child, Command, ExecError, Way};

/// A container that is there for commands: nothing runs in it but an agent, which starts
/// them. Or an agent in an instance, besides what that runs.
///
/// It costs one `apptainer exec`, and each command after that about what a process on the
/// host costs. Dropped with all of its commands, it ends, unless it is
/// [detached](super::OnDisconnect::Detach); [`close`](Self::close) also waits for that. An agent
/// elsewhere is linked to [over a stream](Self::over) of bytes.
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
///
/// One that outlives the program, and a command on it that another program waits for:
///
/// ```no_run
/// # async fn example(image: apptainer::Image) -> Result<(), Box<dyn std::error::Error>> {
/// use apptainer::exec::{Link, OnDisconnect};
///
/// let socket = "/run/user/1000/my-service/link";
/// let link = image.container().link().on_disconnect(OnDisconnect::Detach(socket.into())).await?;
/// let log = std::fs::File::create("train.log")?;
/// let child = link.command("./train").stdout(log).kill_on_drop(false).spawn().await?;
/// let number = child.number();
///
/// // Later, elsewhere:
/// let link = Link::attach(socket).await?;
/// for command in link.commands().await? {
///     let status = link.reattach(command.number).await?.wait().await?;
///     println!("{}: {status}", command.number);
/// }
/// link.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    pub(super) transport: Transport,
}

/// A command on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CommandInfo {
    /// Its number, which no other command on the link has.
    pub number: u64,
    /// Its pid, as its container numbers it; `None` once it has ended.
    pub pid: Option<Pid>,
}

impl Link {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        let transport = Transport::Local(connection);
        Self { transport }
    }

    /// Finds a link again that was [detached](super::OnDisconnect::Detach), in this program or
    /// another of the same user on the same host. Several may use it at a time.
    ///
    /// Dropping the future leaves it as it is.
    pub async fn attach(socket: impl AsRef<Path>) -> Result<Self, LinkError> {
        let connection = attach(socket.as_ref()).await?;
        Ok(Self::new(Arc::new(connection)))
    }

    /// A command in the container.
    ///
    /// The program is a path in it, or a name on its `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.way(), program)
    }

    /// By which commands get there.
    pub(crate) fn way(&self) -> Way {
        Way::Link(self.transport.clone())
    }

    /// The agent's pid, as the host numbers it, where the host can see it.
    pub fn pid(&self) -> Option<Pid> {
        self.transport.pid()
    }

    /// What the container was given the agent's program as; `None` where this program has
    /// not made the link.
    pub fn carrier(&self) -> Option<Carrier> {
        self.transport.carrier()
    }

    /// Whether the agent answers. Cancel-safe.
    pub async fn ping(&self) -> Result<(), LinkError> {
        self.transport.ping().await
    }

    /// Its commands, whoever started them, in the order in which they were started.
    ///
    /// Those that run; and of a [detached](super::OnDisconnect::Detach) link the last 1024 that
    /// have ended without anybody hearing of it. Not [over](Self::over) a stream. Cancel-safe.
    pub async fn commands(&self) -> Result<Vec<CommandInfo>, LinkError> {
        let doing = "list its commands";
        let listed = self.transport.local(doing)?.list().await?;
        let commands = listed.into_iter().map(|listed| CommandInfo {
            number: listed.id,
            pid: Pid::try_from(listed.pid)
                .ok()
                .filter(|_| listed.end.is_none()),
        });
        Ok(commands.collect())
    }

    /// Takes over a command of a [detached](super::OnDisconnect::Detach) link that nobody
    /// holds: to wait for it, also when it has ended, to signal it or to kill it. Its streams
    /// stay what they are.
    ///
    /// Dropped, it goes on as before. Dropping the future leaves it as it is.
    pub async fn reattach(&self, number: u64) -> Result<Child, ExecError> {
        let connection = self.transport.local("reattach to a command")?;
        let remote = Remote::attach(Arc::clone(connection), number).await?;
        Ok(Child::reattached(remote))
    }

    /// Kills what still runs, and waits until all of it is gone: processes, and the mounts of
    /// the container where it was made for the link by this program.
    ///
    /// Clones of the link, and commands, find it [lost](LinkError::Lost). Dropping the future
    /// leaves it ending, or as it was.
    pub async fn close(self) -> Result<(), LinkError> {
        self.transport.close().await
    }
}
