//! An instance that a supervisor watches, as callers have it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apptainer_sys::process::Pid;
use tokio::sync::{mpsc, oneshot};

use crate::exec::{Slot, Way};
use crate::instance::health::Target;
use crate::instance::processes::Processes;
use crate::instance::start::log_end;
use crate::instance::state::Chronicle;
use crate::instance::{
    Events, InstanceError, Mechanism, Mechanisms, Probe, ProbeFailure, ReadLogs, State, Stats,
};
use crate::{Command, Files};

/// An instance that a [`Supervisor`](super::Supervisor) runs.
///
/// A handle: cheap to clone, and dropped without any effect. The instance belongs to its
/// supervisor, until it is [stopped](Self::stop) or ends.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) shared: Arc<Shared>,
}

/// What all handles of an instance share with who watches it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) chronicle: Chronicle,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    /// Where its standard output and standard error go.
    pub(super) logs: [PathBuf; 2],
    /// How long the log of its standard error was before it.
    pub(super) log_length: u64,
    /// The end of what it wrote to its standard error, once it has ended.
    pub(super) last_words: OnceLock<String>,
    /// How much earlier ones of its name had written.
    pub(super) log_starts: [u64; 2],
    pub(super) ports: Vec<(String, u16)>,
    pub(super) mechanisms: Mechanisms,
    /// The folder of its temporary layer, if it has one.
    pub(super) layer: Option<PathBuf>,
    /// What it is an instance of: a file, or a directory, that stays while it runs.
    pub(super) image: Option<PathBuf>,
    /// Whether somebody else started it.
    pub(super) is_foreign: bool,
    /// What runs, while it does.
    pub(super) running: Running,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) processes: Arc<Processes>,
    /// The agent in it, by which commands are run.
    pub(super) slot: Arc<Slot>,
    pub(super) files: OnceLock<Files>,
}

/// What is asked of who watches an instance.
#[derive(Debug)]
pub(super) enum Order {
    /// To end it, with so much time to obey; what is said is whether it has ended.
    Stop(Option<Duration>, oneshot::Sender<Result<(), InstanceError>>),
    /// To halt it.
    Pause(oneshot::Sender<Result<Mechanism, InstanceError>>),
    /// To let it go on.
    Resume(oneshot::Sender<Result<(), InstanceError>>),
    /// To count what it uses.
    Stats(oneshot::Sender<Result<Stats, InstanceError>>),
    /// To leave it running.
    Leave,
}

impl Service {
    /// Its name: `apptainer exec instance://NAME` joins it too.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The first process in the container, as the host numbers it. Once the instance has ended, the
    /// number may be another process's.
    pub fn pid(&self) -> Pid {
        self.shared.running.processes.payload_pid()
    }

    /// The number of one of its [ports](crate::instance::Port), by name.
    pub fn port(&self, name: impl AsRef<str>) -> Option<u16> {
        let mut ports = self.shared.ports.iter();
        let port = ports.find(|(other, _)| other == name.as_ref());
        port.map(|(_, number)| *number)
    }

    /// By what its limits are kept, and how it is paused and counted.
    pub fn mechanisms(&self) -> &Mechanisms {
        &self.shared.mechanisms
    }

    /// Where its standard output and standard error go: [`read_logs`](Self::read_logs) reads
    /// them.
    pub fn logs(&self) -> [PathBuf; 2] {
        self.shared.logs.clone()
    }

    /// What it wrote, and what it writes: line by line.
    ///
    /// What an earlier instance of its name wrote is not of it.
    pub fn read_logs(&self) -> ReadLogs {
        let process = self.shared.running.processes.last().try_clone();
        ReadLogs::new(self.logs(), self.shared.log_starts, process)
    }

    /// Asks once whether it is well, whatever its health check is.
    ///
    /// Dropped, it leaves nothing. It takes no longer than the probe does: put a limit around it.
    pub async fn probe(&self, probe: &Probe) -> Result<(), ProbeFailure> {
        let running = &self.shared.running;
        let ports = self.shared.ports.clone();
        let target = Target::new(
            Arc::clone(&running.processes),
            Arc::clone(&running.slot),
            ports,
        );
        target.ask(probe).await
    }

    /// What it uses.
    pub async fn stats(&self) -> Result<Stats, InstanceError> {
        self.ask(Order::Stats).await
    }

    /// Halts all that runs in it, and says by what. Commands in it do not answer until it is
    /// [resumed](Self::resume); it can be stopped as ever. Paused already, it stays so.
    ///
    /// Dropping the future does not call it off.
    pub async fn pause(&self) -> Result<Mechanism, InstanceError> {
        self.ask(Order::Pause).await
    }

    /// Lets it go on after a [pause](Self::pause). That it does already is no error.
    pub async fn resume(&self) -> Result<(), InstanceError> {
        self.ask(Order::Resume).await
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.shared.chronicle.state()
    }

    /// What has happened to it, and what happens.
    pub fn events(&self) -> Events {
        self.shared.chronicle.events()
    }

    /// Waits until it is [ready](State::Ready): its payload is alive, and its health check has
    /// passed, if it has one.
    ///
    /// That it ended before is an error. Cancel-safe.
    pub async fn ready(&self) -> Result<(), InstanceError> {
        let is_decided = |state: &State| *state == State::Ready || state.is_final();
        // What it was before does not count.
        let (now, mut events) = self.shared.chronicle.events_from_now();
        let state = if is_decided(&now) {
            now
        } else {
            events.wait_for(is_decided).await
        };
        match state {
            State::Ready => Ok(()),
            _ => Err(self.has_ended()),
        }
    }

    /// Waits until it has ended, and says how: a [final](State::is_final) state. Where it is
    /// [left](super::Supervisor::leave) running, how it was then. Cancel-safe.
    pub async fn ended(&self) -> State {
        self.events().wait_for(State::is_final).await
    }

    /// A command in it.
    ///
    /// It has the environment, identity and limits that the instance was started with, and ends
    /// with this program. The program is a path in the container, or a name on its `PATH`.
    ///
    /// # Errors
    ///
    /// The instance has ended.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, InstanceError> {
        if !self.state().is_running() {
            return Err(self.has_ended());
        }
        Ok(self.any_command(program))
    }

    /// The same, which says when it is run that the instance has ended.
    pub(crate) fn any_command(&self, program: impl AsRef<OsStr>) -> Command {
        let slot = Arc::clone(&self.shared.running.slot);
        Command::new(Way::Slot(slot), program)
    }

    /// The files in it. Once it has ended, using them is an
    /// [error](crate::files::FilesError::NotThere).
    pub fn files(&self) -> Files {
        let running = &self.shared.running;
        let files = || Files::new(Way::Slot(Arc::clone(&running.slot)));
        running.files.get_or_init(files).clone()
    }

    /// Stops it: `SIGTERM` to all that runs in it, after its grace `SIGKILL`. When this returns,
    /// nothing of it is left: no process, mount, record or file of ours. That it has ended already
    /// is no error.
    ///
    /// Dropping the future does not call it off.
    pub async fn stop(&self) -> Result<(), InstanceError> {
        self.order_stop(None).await
    }

    /// The same with another grace.
    pub async fn stop_within(&self, grace: Duration) -> Result<(), InstanceError> {
        self.order_stop(Some(grace)).await
    }

    /// The folder of its temporary layer, if it has one.
    pub(crate) fn layer(&self) -> Option<&Path> {
        self.shared.layer.as_deref()
    }

    /// What it is an instance of, if it is one of ours: a file, or a directory, that stays while it
    /// runs.
    pub(crate) fn image(&self) -> Option<&Path> {
        self.shared.image.as_deref()
    }

    /// The processes that it stands and falls with.
    pub(in crate::instance) fn processes(&self) -> &Arc<Processes> {
        &self.shared.running.processes
    }

    /// Waits until the agent in it answers. Runs nothing.
    pub(crate) async fn answers(&self) -> Result<(), InstanceError> {
        Ok(self.shared.running.slot.ping().await?)
    }

    /// What there is to say of one that was not ready in time.
    pub(in crate::instance) fn is_late(&self, limit: Duration) -> InstanceError {
        InstanceError::TimedOut {
            name: self.shared.name.clone(),
            limit,
            log: log_end(&self.shared.logs[1], self.shared.log_length),
        }
    }

    async fn order_stop(&self, grace: Option<Duration>) -> Result<(), InstanceError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.orders.send(Order::Stop(grace, reply));
        let answer = match sent {
            Ok(()) => answer.await,
            // Nobody watches it any more.
            Err(_) => return self.over(),
        };
        answer.unwrap_or_else(|_| self.over())
    }

    /// Has it left running, and waits until nobody watches it.
    pub(super) async fn leave(&self) {
        if self.begin_to_leave() {
            self.shared.orders.closed().await;
        }
    }

    /// Has it left running; says whether somebody watches it.
    pub(super) fn begin_to_leave(&self) -> bool {
        self.shared.orders.send(Order::Leave).is_ok()
    }

    /// Stops it where it is the supervisor's own, and leaves it otherwise.
    pub(super) async fn end_with_supervisor(&self) -> Result<(), InstanceError> {
        if self.shared.is_foreign {
            self.leave().await;
            return Ok(());
        }
        self.stop().await
    }

    /// Nobody watches it: it has ended, or its runtime has.
    fn over(&self) -> Result<(), InstanceError> {
        if self.state().is_final() {
            return Ok(());
        }
        Err(InstanceError::Unwatched {
            name: self.shared.name.clone(),
        })
    }

    /// What there is to say of one that cannot be used as it is.
    pub(in crate::instance) fn has_ended(&self) -> InstanceError {
        InstanceError::Ended {
            name: self.shared.name.clone(),
            state: self.state(),
            log: self.shared.last_words.get().cloned().unwrap_or_default(),
        }
    }

    /// Asks who watches it for something.
    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, InstanceError>>) -> Order,
    ) -> Result<T, InstanceError> {
        let (reply, answer) = oneshot::channel();
        if self.shared.orders.send(order(reply)).is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(match self.state() {
            state if state.is_running() => InstanceError::Unwatched {
                name: self.shared.name.clone(),
            },
            _ => self.has_ended(),
        })
    }
}
