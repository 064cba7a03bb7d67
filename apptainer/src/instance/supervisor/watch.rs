//! Watching one instance: a task that waits for whatever happens to it, and ends it.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apptainer_sys::process::{Exit, Signal};
use apptainer_sys::state::instance::Records;
use tokio::sync::{mpsc, oneshot};

use super::Supervisor;
use super::journal::Entry;
use super::remnant::{Known, Remnant};
use super::service::{Order, Running, Service, Shared};
use crate::blocking::blocking;
use crate::container::Settings;
use crate::exec::{Child, ExecError, Link, Place, Slot};
use crate::instance::InstanceError;
use crate::instance::processes::Processes;
use crate::instance::state::{Chronicle, EventKind, Lost, State, Stopped};
use crate::process::Ended;

/// An instance that runs.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) records: Records,
    /// How long its logs were before it.
    pub(super) log_start: [u64; 2],
    /// How long it may take to obey.
    pub(super) grace: Duration,
    pub(super) processes: Processes,
    pub(super) slot: Arc<Slot>,
    pub(super) remnant: Remnant,
    pub(super) kind: Kind,
}

/// Who started an instance.
#[derive(Debug)]
pub(super) enum Kind {
    /// We, with an agent.
    Own {
        agent: Option<Ended>,
        payload: Option<Child>,
        ends_with_payload: bool,
    },
    /// Somebody else.
    Foreign,
}

/// An instance of ours that runs, and what there is to reach it by.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) processes: Processes,
    pub(super) link: Link,
    pub(super) payload: Option<Child>,
}

impl Supervisor {
    pub(super) fn watched(
        &self,
        entry: &Entry,
        records: Records,
        settings: Settings,
        up: Up,
        remnant: Remnant,
    ) -> io::Result<Watched> {
        let place = Place {
            client: self.client().clone(),
            image: format!("instance://{}", entry.name).into(),
            settings,
            uses: None,
        };
        Ok(Watched {
            name: entry.name.clone(),
            records,
            log_start: entry.log_start,
            grace: entry.terms.grace,
            processes: up.processes,
            kind: Kind::Own {
                agent: up.link.ended()?,
                payload: up.payload,
                ends_with_payload: entry.terms.ends_with_payload,
            },
            slot: Arc::new(Slot::linked(place, up.link)),
            remnant,
        })
    }
}

/// Who watches an instance. Dropped, it has the instance killed, if that is ours.
#[derive(Debug)]
pub(super) struct Watch {
    name: String,
    chronicle: Chronicle,
    records: Records,
    log_start: [u64; 2],
    processes: Arc<Processes>,
    parts: Parts,
    payload: Payload,
    ends_with_payload: bool,
    slot: Arc<Slot>,
    grace: Duration,
    remnant: Remnant,
    exit: Option<Exit>,
}

/// What an instance runs, while it does.
#[derive(Debug)]
enum Payload {
    Nothing,
    /// A command of its agent's.
    Command(Child),
    /// A process that is nobody's we know.
    Process(Ended),
}

/// What an instance cannot be without.
#[derive(Debug)]
struct Parts {
    master: Ended,
    first: Ended,
    agent: Option<Ended>,
    /// What serves its file system.
    servers: Vec<Ended>,
}

/// Why an instance is ended, or has ended.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Asked(Option<Duration>),
    Exited,
    Lost(Lost),
}

/// Something that was noticed.
enum Sign {
    Payload(Result<Option<Exit>, ExecError>),
    /// One of its parts has ended.
    Part(io::Result<()>),
}

impl Watch {
    pub(super) fn new(watched: Watched) -> io::Result<Self> {
        let processes = watched.processes;
        let (agent, payload, ends_with_payload) = match watched.kind {
            Kind::Own {
                agent,
                payload,
                ends_with_payload,
            } => {
                let payload = payload.map_or(Payload::Nothing, Payload::Command);
                (agent, payload, ends_with_payload)
            }
            Kind::Foreign => {
                let payload = processes.main_ended()?;
                let payload = payload.map_or(Payload::Nothing, Payload::Process);
                (None, payload, false)
            }
        };
        let parts = Parts {
            master: processes.master_ended()?,
            first: processes.first_ended()?,
            agent,
            servers: processes.servers()?,
        };
        Ok(Self {
            name: watched.name,
            chronicle: Chronicle::begin(),
            records: watched.records,
            log_start: watched.log_start,
            processes: Arc::new(processes),
            parts,
            payload,
            ends_with_payload,
            slot: watched.slot,
            grace: watched.grace,
            remnant: watched.remnant,
            exit: None,
        })
    }

    /// Watches it from now on.
    pub(super) fn begin(mut self, supervisor: &Supervisor) -> Service {
        self.remnant.tell(self.chronicle.clone());
        let (sender, orders) = mpsc::unbounded_channel();
        let service = Service {
            shared: Arc::new(Shared {
                name: self.name.clone(),
                chronicle: self.chronicle.clone(),
                orders: sender,
                records: self.records.clone(),
                log_start: self.log_start,
                running: Some(Running {
                    processes: Arc::clone(&self.processes),
                    slot: Arc::clone(&self.slot),
                }),
            }),
        };
        // It runs, and nothing asks how well.
        self.chronicle.enter(State::Ready);
        let task = tokio::spawn(self.run(orders));
        supervisor.take_in(&service, task.abort_handle());
        service
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut replies = Vec::new();
        let Some(cause) = self.watch(&mut orders, &mut replies).await else {
            self.leave();
            return;
        };
        self.chronicle.enter(State::Stopping);
        loop {
            match self.end(cause).await {
                Ok(state) => {
                    self.chronicle.enter(state);
                    // Nobody is asked any more, and whoever has asked finds it ended.
                    drop(orders);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, name = self.name, "cannot end an instance");
                    answer(&mut replies, error);
                }
            }
            // Until somebody wants it tried again.
            match orders.recv().await {
                Some(Order::Stop(_, reply)) => replies.push(reply),
                Some(Order::Leave) | None => return,
            }
        }
    }

    /// Waits until it has to be ended; `None` where it is to be left alone.
    async fn watch(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        replies: &mut Vec<oneshot::Sender<Result<(), InstanceError>>>,
    ) -> Option<Cause> {
        loop {
            let sign = tokio::select! {
                sign = sign(&mut self.payload, &self.parts) => sign,
                order = orders.recv() => match order {
                    Some(Order::Stop(grace, reply)) => {
                        replies.push(reply);
                        return Some(Cause::Asked(grace));
                    }
                    Some(Order::Leave) | None => return None,
                },
            };
            match sign {
                Sign::Payload(Ok(exit)) => {
                    if let Some(cause) = self.payload_ended(exit).await {
                        return Some(cause);
                    }
                }
                Sign::Payload(Err(error)) => {
                    tracing::debug!(%error, name = self.name, "a payload is lost");
                    return Some(self.judge().await);
                }
                Sign::Part(ended) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, name = self.name, "cannot watch an instance");
                    }
                    return Some(self.judge().await);
                }
            }
        }
    }

    async fn payload_ended(&mut self, exit: Option<Exit>) -> Option<Cause> {
        self.exit = exit;
        self.payload = Payload::Nothing;
        // It may have ended because its files were gone, and have been seen to first.
        let is_well = exit.is_some_and(Exit::success);
        if !is_well && self.parts.loses_server().await {
            return Some(Cause::Lost(Lost::FileSystem));
        }
        if self.ends_with_payload {
            return Some(Cause::Exited);
        }
        self.chronicle.note(EventKind::PayloadEnded { exit });
        None
    }

    /// Why it is lost.
    async fn judge(&mut self) -> Cause {
        let record = self.records.folder(&self.name);
        Cause::Lost(self.parts.judge(&record).await)
    }

    /// Ends it, and makes sure that nothing is left of it.
    async fn end(&mut self, cause: Cause) -> Result<State, InstanceError> {
        let name = self.name.clone();
        let io_error = |source| InstanceError::Io {
            doing: "stop",
            name: name.clone(),
            source,
        };
        if let Cause::Asked(grace) = cause {
            let grace = grace.unwrap_or(self.grace);
            let asked = self.processes.ask_to_end(Signal::TERM, grace).await;
            asked.map_err(io_error)?;
            self.note_exit().await;
        }
        // What its commands were asked for is asked no more.
        self.slot.forget();
        let is_gone = self.processes.kill_all().await.map_err(io_error)?;
        let known = match cause {
            Cause::Lost(_) => Known::Nothing,
            _ if is_gone => Known::Ended,
            _ => Known::Nothing,
        };
        let mut remnant = std::mem::replace(&mut self.remnant, Remnant::nothing());
        let (cleared, remnant) = blocking(move || (remnant.clear(known), remnant)).await;
        self.remnant = remnant;
        if !cleared.map_err(io_error)? {
            return Err(InstanceError::StillRunning { name });
        }
        let stopped = |was_asked| {
            State::Stopped(Stopped {
                exit: self.exit,
                was_asked,
                is_out_of_memory: false,
            })
        };
        Ok(match cause {
            Cause::Asked(_) => stopped(true),
            Cause::Exited => stopped(false),
            Cause::Lost(lost) => State::Lost(lost),
        })
    }

    /// How the payload ended, which its agent tells at once.
    async fn note_exit(&mut self) {
        const MOMENT: Duration = Duration::from_millis(100);
        if matches!(self.payload, Payload::Nothing) {
            return;
        }
        match tokio::time::timeout(MOMENT, self.payload.wait()).await {
            Ok(Ok(exit)) => self.exit = exit,
            Ok(Err(error)) => {
                tracing::debug!(%error, name = self.name, "nobody knows how a payload ended");
            }
            // It is killed next.
            Err(_) => {}
        }
    }

    /// Leaves it running.
    fn leave(&mut self) {
        self.remnant.leave();
        self.chronicle.close();
    }
}

/// How long Apptainer may take to clean up behind a container.
const CLEAN_UP: Duration = Duration::from_secs(4);

/// The next thing that is noticed. Cancel-safe.
async fn sign(payload: &mut Payload, parts: &Parts) -> Sign {
    tokio::select! {
        // What is known of the payload counts before what comes of it.
        biased;
        exit = payload.wait() => Sign::Payload(exit),
        ended = poll_fn(|context| parts.poll_ended(context)) => Sign::Part(ended),
    }
}

impl Payload {
    /// Waits until it has ended, and says how, as far as anybody can tell; for ever, where there is
    /// none. Cancel-safe.
    async fn wait(&mut self) -> Result<Option<Exit>, ExecError> {
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
    async fn judge(&self, record: &Path) -> Lost {
        /// How long what ends together may take.
        const MOMENT: Duration = Duration::from_millis(100);
        if tokio::time::timeout(MOMENT, self.first.wait())
            .await
            .is_ok()
        {
            let _ = tokio::time::timeout(CLEAN_UP, self.master.wait()).await;
            // A master that lives removes the record in the end.
            return if record.exists() {
                Lost::Master
            } else {
                Lost::Container
            };
        }
        if self.master.pidfd().has_ended().unwrap_or(false) {
            Lost::Master
        } else if self.has_lost_server() {
            Lost::FileSystem
        } else {
            Lost::Agent
        }
    }

    /// Whether one of them has ended.
    fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = [&self.master, &self.first];
        let parts = parts.into_iter().chain(&self.agent).chain(&self.servers);
        for part in parts {
            if let Poll::Ready(ended) = part.poll(context) {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }

    /// The same, or does any moment.
    async fn loses_server(&self) -> bool {
        const MOMENT: Duration = Duration::from_millis(10);
        let any = poll_fn(|context| {
            let mut servers = self.servers.iter();
            match servers.any(|server| server.poll(context).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        tokio::time::timeout(MOMENT, any).await.is_ok()
    }

    fn has_lost_server(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.pidfd().has_ended().unwrap_or(false))
    }
}

/// Tells all that wait why it cannot be done.
fn answer(replies: &mut Vec<oneshot::Sender<Result<(), InstanceError>>>, error: InstanceError) {
    let name = match &error {
        InstanceError::StillRunning { name } => Some(name.clone()),
        _ => None,
    };
    let mut error = Some(error);
    for reply in replies.drain(..) {
        let name = name.clone().unwrap_or_default();
        let error = error.take();
        let error = error.unwrap_or(InstanceError::StillRunning { name });
        let _ = reply.send(Err(error));
    }
}
