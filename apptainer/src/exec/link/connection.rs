//! A connection to an agent.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apptainer_sys::process::{Pid, PidFd, Seqpacket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::control::is_gone;
use super::marked::kill_marked;
use super::protocol::{Listed, Reply, Request};
use super::socket::Address;
use super::{Carrier, LinkError, StartError, StartStage, protocol};
use crate::exec::ExecError;
use crate::process::{Ended, Running};

/// An agent, and the way to it. The agent ends when this is dropped, and with it what it
/// has started.
///
/// It belongs to no runtime: whoever waits for something does so in their own.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Seqpacket,
    /// The `apptainer` that the agent runs in, where we have started it.
    process: Mutex<Option<Running>>,
    /// Where the agent is found again, if it goes on without its callers.
    address: Option<Address>,
    /// Whether commands go on without their callers, unless they are told otherwise.
    keeps_commands: bool,
    agent: Agent,
    is_lost: AtomicBool,
    /// For what is asked and answered over the socket itself: one at a time.
    conversation: tokio::sync::Mutex<()>,
    pings: AtomicU64,
}

/// An agent that has said who it is.
#[derive(Debug)]
pub(super) struct Agent {
    /// As the host numbers it, where the host can see it.
    pub(super) pid: Option<Pid>,
    /// The same.
    pub(super) pidfd: Option<Arc<PidFd>>,
    /// What its program was handed over as, where that is known.
    pub(super) carrier: Option<Carrier>,
    /// Marks what it starts.
    pub(super) token: [u8; 16],
}

/// What waits for the agent to have room for another request.
const PAUSE: Duration = Duration::from_millis(1);

impl Connection {
    pub(super) fn new(
        socket: Seqpacket,
        process: Option<Running>,
        address: Option<Address>,
        agent: Agent,
    ) -> Self {
        Self {
            socket,
            process: Mutex::new(process),
            keeps_commands: address.is_some(),
            address,
            agent,
            is_lost: AtomicBool::new(false),
            conversation: tokio::sync::Mutex::default(),
            pings: AtomicU64::new(0),
        }
    }

    /// Has commands end with their callers, though the agent does not, but for those that are
    /// let go.
    pub(super) fn ending_commands(mut self) -> Self {
        self.keeps_commands = false;
        self
    }

    /// Whether its commands go on without their callers.
    pub(super) fn keeps_commands(&self) -> bool {
        self.keeps_commands
    }

    fn is_detached(&self) -> bool {
        self.address.is_some()
    }

    pub(super) fn carrier(&self) -> Option<Carrier> {
        self.agent.carrier
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.agent.pid
    }

    /// The same, held.
    pub(super) fn pidfd(&self) -> Option<&Arc<PidFd>> {
        self.agent.pidfd.as_ref()
    }

    /// Whether the agent is known to have ended.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Takes note that the agent said nothing of a command before it closed the command's
    /// connection: it has ended, or had no room for the command's descriptors.
    pub(super) fn note_silence(&self) -> ExecError {
        // It closes what it has a moment before it is known to have ended.
        const MOMENT: Duration = Duration::from_millis(20);
        let pidfd = self.agent.pidfd.as_ref();
        if let Some(Ok(false)) = pidfd.map(|pidfd| pidfd.wait_ended(Some(MOMENT))) {
            return StartError::on_host(StartStage::Descriptors, nix::libc::EMFILE).into();
        }
        self.note_loss();
        LinkError::Lost.into()
    }

    /// Takes note that the agent has ended, if it has.
    pub(super) fn note_if_ended(&self) {
        let pidfd = self.agent.pidfd.as_ref();
        if let Some(Ok(true)) = pidfd.map(|pidfd| pidfd.has_ended()) {
            self.note_loss();
        }
    }

    /// Takes note that the agent has ended. What it had started ended with it, but for
    /// what had cut itself loose, which is killed here.
    pub(super) fn note_loss(&self) {
        if !self.is_lost.swap(true, Ordering::AcqRel)
            && let Err(error) = kill_marked(&self.agent.token)
        {
            tracing::warn!(%error, "cannot look for what a lost exec agent has left");
        }
    }

    /// Sends a request with descriptors, waiting while the agent has no room for it.
    ///
    /// Cancel-safe: it has been sent or it has not.
    pub(super) async fn send(
        &self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        loop {
            match self.socket.send(message, fds) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.until_writable().await?;
                }
                // More descriptors are on their way than one user may have there.
                Err(error) if error.raw_os_error() == Some(nix::libc::ETOOMANYREFS) => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if is_gone(&error) => {
                    self.note_loss();
                    return Err(LinkError::Lost);
                }
                Err(source) => {
                    let doing = "send a request to the exec agent";
                    return Err(LinkError::Io { doing, source });
                }
            }
        }
    }

    async fn until_writable(&self) -> Result<(), LinkError> {
        let waited = async {
            let ready = watch(&self.socket, Interest::WRITABLE)?;
            ready.writable().await?.retain_ready();
            io::Result::Ok(())
        };
        waited.await.map_err(|source| LinkError::Io {
            doing: "wait for the exec agent",
            source,
        })
    }

    /// Asks something, and waits for the answer to it. Only in a conversation.
    async fn ask<T>(
        &self,
        request: &Request<'_>,
        mut answer: impl FnMut(Reply) -> Option<T>,
    ) -> Result<T, LinkError> {
        let mut message = Vec::with_capacity(64);
        request.encode(&mut message);
        self.send(&message, &[]).await?;
        loop {
            match hear(&self.socket).await {
                // Others are to what was asked by somebody who did not wait.
                Ok((reply, _)) => {
                    if let Some(answer) = answer(reply) {
                        return Ok(answer);
                    }
                }
                Err(error) => {
                    if matches!(error, LinkError::Lost) {
                        self.note_loss();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The same with something that has one answer only.
    async fn expect(&self, request: &Request<'_>, expected: Reply) -> Result<(), LinkError> {
        self.ask(request, |reply| (reply == expected).then_some(()))
            .await
    }

    async fn ping_alone(&self) -> Result<(), LinkError> {
        let number = self.pings.fetch_add(1, Ordering::Relaxed);
        self.expect(&Request::Ping(number), Reply::Pong(number))
            .await
    }

    /// Whether the agent answers. Cancel-safe.
    pub(super) async fn ping(&self) -> Result<(), LinkError> {
        let _alone = self.conversation.lock().await;
        self.ping_alone().await
    }

    /// The agent's commands, in the order in which they were started. Cancel-safe.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, LinkError> {
        let _alone = self.conversation.lock().await;
        // After this there is no answer left to a list that nobody waited for.
        self.ping_alone().await?;
        let mut commands = Vec::new();
        let mut last = 0;
        loop {
            let request = Request::List(last);
            let listed = self.ask(&request, |reply| match reply {
                Reply::Listed(listed) => Some(listed),
                _ => None,
            });
            match listed.await? {
                Some(listed) if listed.id > last => {
                    last = listed.id;
                    commands.push(listed);
                }
                _ => return Ok(commands),
            }
        }
    }

    /// Ends the agent, and all that it has started, and waits until they are gone.
    pub(super) async fn close(&self) -> Result<(), LinkError> {
        let failed = |source| LinkError::Io {
            doing: "wait for the exec agent's end",
            source,
        };
        let _alone = self.conversation.lock().await;
        match self.expect(&Request::Goodbye, Reply::Farewell).await {
            Ok(()) | Err(LinkError::Lost) => {}
            Err(error) => return Err(error),
        }
        self.is_lost.store(true, Ordering::Release);
        let process = self.take_process();
        if let Some(mut process) = process {
            process.wait().await.map_err(failed)?;
        } else if let Some(pidfd) = &self.agent.pidfd {
            Ended::of(pidfd)
                .map_err(failed)?
                .wait()
                .await
                .map_err(failed)?;
        }
        if let Some(address) = &self.address {
            address.clean_up();
        }
        Ok(())
    }

    fn take_process(&self) -> Option<Running> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.take()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Others may have a copy of the descriptor for a moment.
        let _ = self.socket.shut_down();
        match self.take_process() {
            Some(process) if self.is_detached() => drop(process),
            Some(mut process) => {
                // Where the agent was killed, nobody may have noticed.
                process.keep(Marked(self.agent.token));
                process.expect_end();
            }
            None => {}
        }
    }
}

/// Whatever an agent has started. Dropped when that has ended, what it has left is killed.
struct Marked([u8; 16]);

impl Drop for Marked {
    fn drop(&mut self) {
        if let Err(error) = kill_marked(&self.0) {
            tracing::warn!(%error, "cannot look for what an exec agent has left");
        }
    }
}

/// Watches a socket in the runtime of whoever calls this.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; a Seqpacket owns \
        one descriptor from first to last"
)]
pub(super) fn watch(socket: &Seqpacket, interest: Interest) -> io::Result<AsyncFd<Seqpacket>> {
    AsyncFd::with_interest(socket.try_clone()?, interest)
}

/// The next reply, and who sent it where the socket tells.
pub(super) async fn hear(socket: &Seqpacket) -> Result<(Reply, Option<Pid>), LinkError> {
    let failed = |source| LinkError::Io {
        doing: "listen to the exec agent",
        source,
    };
    let ready = watch(socket, Interest::READABLE).map_err(failed)?;
    loop {
        let mut buffer = [0; protocol::Reply::MAX];
        match socket.receive(&mut buffer) {
            Ok(packet) if packet.length == 0 => return Err(LinkError::Lost),
            Ok(packet) => {
                let reply = Reply::decode(&buffer[..packet.length]);
                let reply = reply.map_err(|_| LinkError::Lost)?;
                return Ok((reply, packet.sender));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.readable().await.map_err(failed)?.clear_ready();
            }
            // What it said before comes after this.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) if is_gone(&error) => return Err(LinkError::Lost),
            Err(error) => return Err(failed(error)),
        }
    }
}
