//! Watching one instance: a task that waits for whatever happens to it, does what is asked for,
//! and ends it.

mod ending;

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apptainer_sys::process::{Exit, Signal};
use tokio::sync::{mpsc, oneshot};

use super::Supervisor;
use super::halter::Halter;
use super::parts::{Parts, Payload};
use super::service::{Order, Running, Service, Shared};
use super::watched::{Kind, Watched};
use crate::blocking::blocking;
use crate::exec::ExecError;
use crate::instance::InstanceError;
use crate::instance::health::{self, Report, Target, Verdict};
use crate::instance::limits::{EnclosureEvent, Exceeded, LimitError, Mechanism};
use crate::instance::logs::{self, Keeper};
use crate::instance::state::{Chronicle, EventKind, Lost, State};
use crate::process::Ended;

/// Who watches an instance. Dropped, it has the instance killed, if that is ours.
#[derive(Debug)]
pub(super) struct Watch {
    chronicle: Chronicle,
    watched: Watched,
    parts: Parts,
    payload: Payload,
    health: Option<health::Watch>,
    /// What rotates its logs.
    keeper: Option<Keeper>,
    /// How it is when it is not paused.
    wellness: State,
    exit: Option<Exit>,
    is_out_of_memory: bool,
    has_too_many: bool,
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
    Enclosure(EnclosureEvent),
    Health(Report),
}

type Reply<T> = oneshot::Sender<Result<T, InstanceError>>;

impl Watch {
    /// Must be called in a tokio runtime.
    pub(super) fn new(mut watched: Watched) -> io::Result<Self> {
        let processes = &watched.processes;
        let (agent, payload) = match &mut watched.kind {
            Kind::Own { agent, payload, .. } => {
                let payload = payload.take().map_or(Payload::Nothing, Payload::Command);
                (agent.take(), payload)
            }
            Kind::Foreign => {
                let payload = processes.main_ended()?;
                (None, payload.map_or(Payload::Nothing, Payload::Process))
            }
        };
        let servers = watched.servers.iter();
        let servers = servers.map(|server| Ended::of(&server.pidfd));
        let [first, master] = processes.both_ended()?;
        let parts = Parts {
            master,
            first,
            agent,
            servers: servers.collect::<io::Result<_>>()?,
        };
        let (group, paused) = watched.enclosure.halted_by();
        let halter = Halter {
            processes: Arc::clone(processes),
            group,
            paused,
        };
        let logs = watched.records.logs(&watched.name);
        let keeper = logs::keep(&watched.logs, logs, Arc::new(halter))?;
        let health = watched.health.clone().map(|health| {
            let slot = Arc::clone(&watched.slot);
            let target = Target::new(Arc::clone(processes), slot, watched.ports.clone());
            health::watch(health, target)
        });
        Ok(Self {
            chronicle: Chronicle::begin(),
            // What nobody asks about is well as long as it runs.
            wellness: match health {
                Some(_) => State::Starting,
                None => State::Ready,
            },
            watched,
            parts,
            payload,
            health,
            keeper,
            exit: None,
            is_out_of_memory: false,
            has_too_many: false,
        })
    }

    /// Watches it from now on.
    pub(super) fn begin(mut self, supervisor: &Supervisor) -> Service {
        let watched = &mut self.watched;
        let processes = Arc::clone(&watched.processes);
        let chronicle = self.chronicle.clone();
        // Until it is among those that are watched.
        let _starting = watched.remnant.give_name_up();
        watched.remnant.is_watched(processes, chronicle);
        let (sender, orders) = mpsc::unbounded_channel();
        let service = Service {
            shared: Arc::new(Shared {
                name: watched.name.clone(),
                chronicle: self.chronicle.clone(),
                orders: sender,
                logs: watched.records.logs(&watched.name),
                log_length: watched.log_length,
                last_words: OnceLock::new(),
                log_starts: watched.log_starts,
                ports: watched.ports.clone(),
                mechanisms: watched.enclosure.mechanisms().clone(),
                layer: watched.layer.clone(),
                image: watched.remnant.image().map(Path::to_owned),
                is_foreign: matches!(watched.kind, Kind::Foreign),
                running: Running {
                    files: OnceLock::new(),
                    processes: Arc::clone(&watched.processes),
                    slot: Arc::clone(&watched.slot),
                },
            }),
        };
        if watched.is_paused {
            self.halt_health();
            self.chronicle.enter(State::Paused);
        } else {
            self.chronicle.enter(self.wellness.clone());
        }
        let shared = Arc::clone(&service.shared);
        let forget = supervisor.forgetting();
        let task = tokio::spawn(async move {
            self.run(orders, shared).await;
            forget();
        });
        supervisor.take_in(&service, task.abort_handle());
        service
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, shared: Arc<Shared>) {
        let mut replies = Vec::new();
        let Some(cause) = self.watch(&mut orders, &mut replies).await else {
            self.leave().await;
            return;
        };
        self.end_surely(cause, orders, replies, &shared).await;
    }

    /// Waits until it has to be ended; `None` where it is to be left alone.
    async fn watch(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        replies: &mut Vec<Reply<()>>,
    ) -> Option<Cause> {
        loop {
            let sign = tokio::select! {
                sign = self.sign() => sign,
                order = orders.recv() => match order {
                    Some(Order::Stop(grace, reply)) => {
                        replies.push(reply);
                        return Some(Cause::Asked(grace));
                    }
                    Some(Order::Leave) | None => return None,
                    Some(order) => {
                        self.obey(order).await;
                        continue;
                    }
                },
            };
            let cause = match sign {
                Sign::Payload(Ok(exit)) => self.payload_ended(exit).await,
                Sign::Payload(Err(error)) => {
                    tracing::debug!(%error, name = self.watched.name, "a payload is lost");
                    Some(self.judge().await)
                }
                Sign::Part(ended) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, name = self.watched.name, "cannot watch an instance");
                    }
                    Some(self.judge().await)
                }
                Sign::Enclosure(event) => {
                    self.note_enclosure(event);
                    None
                }
                Sign::Health(report) => {
                    self.note_health(report);
                    None
                }
            };
            if cause.is_some() {
                return cause;
            }
        }
    }

    /// The next thing that is noticed. Cancel-safe.
    async fn sign(&mut self) -> Sign {
        let Self {
            payload,
            parts,
            health,
            watched,
            ..
        } = self;
        let reported = async {
            match health {
                Some(health) => health.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is known of the payload counts before what comes of it.
            biased;
            exit = payload.wait() => Sign::Payload(exit),
            ended = poll_fn(|context| parts.poll_ended(context)) => Sign::Part(ended),
            event = watched.enclosure.next_event() => Sign::Enclosure(event),
            report = reported => Sign::Health(report),
        }
    }

    async fn payload_ended(&mut self, exit: Option<Exit>) -> Option<Cause> {
        /// How much later than its end the reason for it may be told.
        const MOMENT: Duration = Duration::from_millis(100);
        self.exit = exit;
        self.payload = Payload::Nothing;
        let is_well = exit.is_some_and(Exit::success);
        // It may have ended because its files were gone, or with all else, and have been seen to
        // first.
        if !is_well && self.parts.loses_server().await {
            return Some(self.judge().await);
        }
        if exit == Some(Exit::Signal(Signal::KILL)) {
            let event = tokio::time::timeout(MOMENT, self.watched.enclosure.next_event()).await;
            if let Ok(event) = event {
                self.note_enclosure(event);
            }
        }
        match &self.watched.kind {
            Kind::Own {
                ends_with_payload: true,
                ..
            } => return Some(Cause::Exited),
            _ => self.chronicle.note(EventKind::PayloadEnded { exit }),
        }
        // Its agent has told, and remembers it no longer.
        if let Kind::Own {
            note: Some(note), ..
        } = &mut self.watched.kind
            && let Some(started) = &mut note.1.started
        {
            started.payload = None;
        }
        self.note().await;
        None
    }

    fn note_enclosure(&mut self, event: EnclosureEvent) {
        let kind = match event {
            EnclosureEvent::OutOfMemory { kills } => EventKind::OutOfMemory { kills },
            EnclosureEvent::Exceeded(Exceeded::Memory { .. }) => {
                EventKind::OutOfMemory { kills: 1 }
            }
            EnclosureEvent::Exceeded(Exceeded::Processes { count, limit }) => {
                self.has_too_many = true;
                let kind = EventKind::TooManyProcesses { count, limit };
                self.chronicle.note(kind);
                return;
            }
        };
        self.is_out_of_memory = true;
        self.chronicle.note(kind);
    }

    fn note_health(&mut self, report: Report) {
        if let Err(reason) = report.result {
            self.chronicle.note(EventKind::HealthCheckFailed {
                streak: report.streak,
                reason: reason.to_string(),
            });
        }
        self.wellness = match report.verdict {
            Verdict::Starting => State::Starting,
            Verdict::Healthy => State::Ready,
            Verdict::Unhealthy => State::Unhealthy,
        };
        if !self.watched.is_paused {
            self.chronicle.enter(self.wellness.clone());
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Pause(reply) => {
                let paused = self.pause().await;
                let _ = reply.send(paused.map_err(|error| self.limit_error("pause", error)));
            }
            Order::Resume(reply) => {
                let resumed = self.resume().await;
                let _ = reply.send(resumed.map_err(|error| self.limit_error("resume", error)));
            }
            Order::Stats(reply) => {
                let stats = self.watched.enclosure.stats(&self.watched.processes).await;
                let doing = "count what is used by";
                let _ = reply.send(stats.map_err(|error| self.limit_error(doing, error)));
            }
            // They are not for here.
            Order::Stop(..) | Order::Leave => {}
        }
    }

    async fn pause(&mut self) -> Result<Mechanism, LimitError> {
        let paused = self
            .watched
            .enclosure
            .pause(&self.watched.processes)
            .await?;
        self.halt_health();
        self.watched.is_paused = true;
        self.chronicle.enter(State::Paused);
        self.note().await;
        Ok(paused)
    }

    async fn resume(&mut self) -> Result<(), LimitError> {
        if !self.watched.is_paused {
            return Ok(());
        }
        self.watched.enclosure.resume().await?;
        if let Some(health) = &self.health {
            health.resume();
        }
        self.watched.is_paused = false;
        self.chronicle.enter(self.wellness.clone());
        self.note().await;
        Ok(())
    }

    fn halt_health(&self) {
        if let Some(health) = &self.health {
            health.pause();
        }
    }

    /// Writes down how it is.
    async fn note(&mut self) {
        let Kind::Own {
            note: Some(note), ..
        } = &mut self.watched.kind
        else {
            return;
        };
        note.1.is_paused = self.watched.is_paused;
        let (journal, entry) = (**note).clone();
        if let Err(error) = blocking(move || journal.note(&entry)).await {
            tracing::warn!(%error, name = self.watched.name, "cannot note how an instance is");
        }
    }

    fn limit_error(&self, doing: &'static str, source: LimitError) -> InstanceError {
        InstanceError::limit(doing, &self.watched.name, source)
    }

    /// Leaves it running, and nothing of it halted but for its user.
    async fn leave(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.finish().await;
        }
        self.watched.remnant.leave();
        self.chronicle.close();
    }
}
