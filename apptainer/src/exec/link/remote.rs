//! A command that an agent runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use apptainer_sys::process::{Content, Exit, Pid, ResourceUsage, Seqpacket, Signal, sealed_file};
use nix::libc;

use super::connection::Connection;
use super::control::{Control, Outcome, Started};
use super::line::Line;
use super::protocol::{Request, Scope};
use super::request::{self, Manner};
use super::stream::{Channel, Mux};
use super::transport::Transport;
use super::{LinkError, StartError, StartStage};
use crate::exec::ExecError;
use crate::exec::command::Description;
use crate::process::OnDrop;

/// A command that an agent runs. Dropped, it is killed or let go.
#[derive(Debug)]
pub(crate) struct Remote {
    control: Line,
    /// Ends with the last of its commands.
    transport: Transport,
    started: Option<Started>,
    on_drop: OnDrop,
}

impl Remote {
    /// Asks for a command, and waits until it has been asked for.
    ///
    /// Cancel-safe: dropped, the command is not started, or is killed.
    pub(crate) async fn ask(
        connection: Arc<Connection>,
        command: &Description,
        streams: [BorrowedFd<'_>; 3],
        on_drop: OnDrop,
        reports_start: bool,
    ) -> Result<Self, ExecError> {
        let manner = Manner {
            reports_start,
            ends_with_caller: on_drop == OnDrop::Kill && !connection.keeps_commands(),
            is_piped: [false; 3],
        };
        let message = request::encode(command, &manner).map_err(refused)?;
        let words = message.words.as_deref();
        let words = words.map(|words| sealed_file(Content::Data, words));
        let words = words.transpose().map_err(refused)?;
        let (ours, theirs) = Seqpacket::pair().map_err(refused)?;
        let mut fds = Vec::with_capacity(6);
        fds.push(theirs.as_fd());
        if command.terminal.is_none() {
            fds.extend(streams);
        }
        fds.extend(command.side_channel.as_ref().map(|fd| fd.as_fd()));
        fds.extend(words.as_ref().map(OwnedFd::as_fd));
        // Before that it costs nothing if it fails.
        let control = Control::new(ours)?;
        connection.send(&message.bytes, &fds).await?;
        drop(theirs);
        Ok(Self {
            control: Line::Socket(Arc::new(control)),
            transport: Transport::Local(connection),
            started: None,
            on_drop,
        })
    }

    /// Takes over a command that nobody holds. Dropped, it goes on.
    pub(crate) async fn attach(
        connection: Arc<Connection>,
        number: u64,
    ) -> Result<Self, ExecError> {
        let failed = |source| LinkError::Io {
            doing: "attach to a command",
            source,
        };
        let (ours, theirs) = Seqpacket::pair().map_err(failed)?;
        let mut message = Vec::with_capacity(16);
        Request::Attach(number).encode(&mut message);
        let control = Control::new(ours)?;
        connection.send(&message, &[theirs.as_fd()]).await?;
        drop(theirs);
        let mut remote = Self {
            control: Line::Socket(Arc::new(control)),
            transport: Transport::Local(connection),
            started: None,
            on_drop: OnDrop::Detach,
        };
        match remote.started().await {
            Err(ExecError::Start(error)) => Err(match error.code() {
                libc::ESRCH => LinkError::NoSuchCommand { number }.into(),
                libc::EBUSY => LinkError::CommandHeld { number }.into(),
                _ => error.into(),
            }),
            attached => attached.map(|()| remote),
        }
    }

    /// The same over a stream, with those of its streams carried that `is_piped` names; and
    /// the channel that carries them.
    ///
    /// Cancel-safe: dropped, the command is not started, or is killed.
    pub(crate) async fn ask_over_stream(
        mux: Arc<Mux>,
        command: &Description,
        is_piped: [bool; 3],
        on_drop: OnDrop,
        reports_start: bool,
    ) -> Result<(Self, Arc<Channel>), ExecError> {
        let manner = Manner {
            reports_start,
            ends_with_caller: on_drop == OnDrop::Kill,
            is_piped,
        };
        let message = request::encode(command, &manner).map_err(refused)?;
        let is_carried = match command.terminal {
            Some(_) => [true, true, false],
            None => is_piped,
        };
        let channel = mux.open(&message, is_carried).await?;
        let remote = Self {
            control: Line::Channel(Arc::clone(&channel)),
            transport: Transport::Stream(mux),
            started: None,
            on_drop,
        };
        Ok((remote, channel))
    }

    /// Waits until it runs.
    pub(crate) async fn started(&mut self) -> Result<(), ExecError> {
        match self.control.started().await? {
            Ok(started) => {
                self.started = Some(started);
                Ok(())
            }
            Err(outcome) => self.judge(outcome).map(drop),
        }
    }

    /// Its pid, as its container numbers it, if it was asked to tell.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let started = self.started.as_ref()?;
        Pid::try_from(started.pid).ok()
    }

    /// Its number among the agent's commands, if it was asked to tell.
    pub(crate) fn number(&self) -> Option<u64> {
        Some(self.started.as_ref()?.id)
    }

    /// The end of its terminal that shows it.
    pub(crate) fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.started.as_mut()?.terminal.take()
    }

    /// What tells of its end.
    pub(crate) fn control(&self) -> Line {
        self.control.clone()
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.control.signal(signal, Scope::Tree)
    }

    pub(crate) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        self.control.signal(signal, Scope::Group)
    }

    pub(crate) fn start_kill(&self) -> io::Result<()> {
        self.control.say(&Request::Kill)
    }

    /// Waits for its end. Cancel-safe.
    pub(crate) async fn wait(&self) -> Result<(Exit, ResourceUsage), ExecError> {
        let outcome = self.control.outcome().await?;
        self.judge(outcome)
    }

    pub(crate) fn try_wait(&self) -> Result<Option<(Exit, ResourceUsage)>, ExecError> {
        match self.control.try_outcome()? {
            Some(outcome) => self.judge(outcome).map(Some),
            None => Ok(None),
        }
    }

    fn judge(&self, outcome: Outcome) -> Result<(Exit, ResourceUsage), ExecError> {
        match outcome {
            Outcome::Exited(exit, usage) => Ok((exit, usage)),
            Outcome::Failed(error) => Err(error.into()),
            Outcome::Lost => Err(self.transport.note_silence()),
        }
    }
}

/// Why a command could not be asked for.
fn refused(error: io::Error) -> ExecError {
    match error.raw_os_error() {
        Some(code) => StartError::on_host(StartStage::Request, code).into(),
        None => ExecError::Wait(error),
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        match self.control.known_outcome() {
            Some(Outcome::Lost) => {
                self.transport.note_silence();
                return;
            }
            Some(_) => return,
            // What has been said and not been heard is left to who asks for it later.
            None => {}
        }
        // The agent kills what its caller hangs up on, unless it was told to let go. But who
        // still reads what the command writes has not hung up, and what a detached link's
        // agent sees hung up on it keeps.
        let _ = self.control.say(match self.on_drop {
            OnDrop::Kill => &Request::Kill,
            OnDrop::Detach => &Request::Release,
        });
        // Nobody has waited for it who would have noticed.
        self.transport.note_if_ended();
    }
}
