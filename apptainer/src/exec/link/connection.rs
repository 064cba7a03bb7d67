//! A connection to an agent.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use apptainer_sys::process::{Pid, PidFd, Process, Seqpacket, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::control::is_gone;
use super::protocol::{Reply, Request};
use super::{LinkError, protocol};
use crate::process::Running;

/// An agent, and the way to it. The agent ends when this is dropped, and with it what it
/// has started.
///
/// It belongs to no runtime: whoever waits for something does so in their own.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Seqpacket,
    /// The `apptainer` that the agent runs in.
    process: Mutex<Option<Running>>,
    /// The agent's pid, as the host numbers it.
    pid: Option<Pid>,
    /// Marks what the agent starts.
    token: [u8; 16],
    is_lost: AtomicBool,
    /// For what is asked and answered over the socket itself: one at a time.
    conversation: tokio::sync::Mutex<()>,
    pings: AtomicU64,
    /// `/dev/null`, for commands' streams.
    null: OnceLock<OwnedFd>,
}

/// What waits for the agent to have room for another request.
const PAUSE: Duration = Duration::from_millis(1);

impl Connection {
    pub(super) fn new(
        socket: Seqpacket,
        process: Running,
        pid: Option<Pid>,
        token: [u8; 16],
    ) -> Self {
        Self {
            socket,
            process: Mutex::new(Some(process)),
            pid,
            token,
            is_lost: AtomicBool::new(false),
            conversation: tokio::sync::Mutex::default(),
            pings: AtomicU64::new(0),
            null: OnceLock::new(),
        }
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// `/dev/null`, open for reading and writing.
    pub(crate) fn null(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(null) = self.null.get() {
            return Ok(null.as_fd());
        }
        let null = File::options().read(true).write(true).open("/dev/null")?;
        Ok(self.null.get_or_init(|| null.into()).as_fd())
    }

    /// Whether the agent is known to have ended.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Takes note that the agent has ended. What it had started ended with it, but for
    /// what had cut itself loose, which is killed here.
    pub(super) fn note_loss(&self) {
        if !self.is_lost.swap(true, Ordering::AcqRel)
            && let Err(error) = kill_marked(&self.token)
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

    /// Asks something, and waits for the answer to it: others are to what was asked by
    /// somebody who did not wait.
    async fn ask(&self, request: &Request<'_>, answer: &Reply) -> Result<(), LinkError> {
        let _alone = self.conversation.lock().await;
        let mut message = Vec::with_capacity(64);
        request.encode(&mut message);
        self.send(&message, &[]).await?;
        loop {
            match hear(&self.socket).await {
                Ok((reply, _)) if reply == *answer => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    if matches!(error, LinkError::Lost) {
                        self.note_loss();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Whether the agent answers. Cancel-safe.
    pub(super) async fn ping(&self) -> Result<(), LinkError> {
        let number = self.pings.fetch_add(1, Ordering::Relaxed);
        self.ask(&Request::Ping(number), &Reply::Pong(number)).await
    }

    /// Ends the agent, and all that it has started, and waits until they are gone.
    pub(super) async fn close(&self) -> Result<(), LinkError> {
        match self.ask(&Request::Goodbye, &Reply::Farewell).await {
            Ok(()) | Err(LinkError::Lost) => {}
            Err(error) => return Err(error),
        }
        self.is_lost.store(true, Ordering::Release);
        let process = self.take_process();
        if let Some(mut process) = process {
            process.wait().await.map_err(|source| LinkError::Io {
                doing: "wait for the exec agent's end",
                source,
            })?;
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
        if let Some(mut process) = self.take_process() {
            // Where the agent was killed, nobody may have noticed.
            process.keep(Marked(self.token));
            process.expect_end();
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
            Err(error) if is_gone(&error) => return Err(LinkError::Lost),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Kills whatever bears this mark: see the agent's `mark.rs`.
fn kill_marked(token: &[u8; 16]) -> io::Result<()> {
    use std::fmt::Write;

    // What it starts before it dies bears the mark too.
    const ROUNDS: usize = 16;
    let mut mark = String::from("APPTAINER_RS_EXEC=");
    for byte in token {
        let _ = write!(mark, "{byte:02x}");
    }
    for _ in 0..ROUNDS {
        let mut is_clean = true;
        for process in Process::all()? {
            let Ok(pidfd) = PidFd::open(process.pid) else {
                continue;
            };
            // That of a zombie is empty, and that of others' processes not for us.
            let environ = std::fs::read(format!("/proc/{}/environ", process.pid));
            let mut variables = environ
                .iter()
                .flat_map(|text| text.split(|byte| *byte == 0));
            if variables.any(|variable| variable.starts_with(mark.as_bytes())) {
                is_clean = false;
                let _ = pidfd.signal(Signal::KILL);
            }
        }
        if is_clean {
            break;
        }
    }
    Ok(())
}
