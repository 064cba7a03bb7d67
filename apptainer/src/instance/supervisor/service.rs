//! An instance that a supervisor watches, as callers have it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::Pid;
use apptainer_sys::state::instance::Records;
use tokio::sync::{mpsc, oneshot};

use crate::Command;
use crate::exec::{Slot, Way};
use crate::instance::processes::Processes;
use crate::instance::state::Chronicle;
use crate::instance::{Events, InstanceError, State};

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
    pub(super) records: Records,
    /// How long its logs were before it.
    pub(super) log_start: [u64; 2],
    /// What runs, while it does.
    pub(super) running: Option<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) processes: Arc<Processes>,
    /// The agent in it, by which commands are run.
    pub(super) slot: Arc<Slot>,
}

/// What is asked of who watches an instance.
#[derive(Debug)]
pub(super) enum Order {
    /// To end it, with so much time to obey; what is said is whether it has ended.
    Stop(Option<Duration>, oneshot::Sender<Result<(), InstanceError>>),
    /// To leave it running.
    Leave,
}

impl Service {
    /// Its name: `apptainer exec instance://NAME` joins it too.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The first process in the container, as the host numbers it; `None` for one that had ended
    /// when it was looked for.
    pub fn pid(&self) -> Option<Pid> {
        let running = self.shared.running.as_ref()?;
        Some(running.processes.payload_pid())
    }

    /// Where its standard output and standard error go.
    pub fn logs(&self) -> [PathBuf; 2] {
        self.shared.records.logs(&self.shared.name)
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
        let state = match self.state() {
            state if is_decided(&state) => state,
            _ => self.events().wait_for(is_decided).await,
        };
        match state {
            State::Ready => Ok(()),
            state => Err(InstanceError::Ended {
                name: self.shared.name.clone(),
                state,
                log: self.log_tail(),
            }),
        }
    }

    /// Waits until it has ended, and says how: a [final](State::is_final) state. Cancel-safe.
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
        let running = self.shared.running.as_ref();
        let running = running.filter(|_| self.state().is_running());
        let running = running.ok_or_else(|| InstanceError::Ended {
            name: self.shared.name.clone(),
            state: self.state(),
            log: String::new(),
        })?;
        Ok(Command::new(Way::Slot(Arc::clone(&running.slot)), program))
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
        if self.shared.orders.send(Order::Leave).is_ok() {
            self.shared.orders.closed().await;
        }
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

    fn log_tail(&self) -> String {
        crate::instance::start::log_since(
            &self.shared.records,
            &self.shared.name,
            self.shared.log_start[1],
        )
    }
}
