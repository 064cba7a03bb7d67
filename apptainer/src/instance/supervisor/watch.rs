//! Watching one instance: a task that waits for whatever happens to it, does what is asked for,
//! and ends it.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apptainer_sys::process::{Exit, Signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Supervisor;
use super::halter::Halter;
use super::parts::{Parts, Payload};
use super::remnant::{Known, Remnant};
use super::service::{Order, Running, Service, Shared};
use super::watched::{Kind, Watched};
use crate::blocking::blocking;
use crate::exec::ExecError;
use crate::instance::InstanceError;
use crate::instance::health::{self, Report, Target, Verdict};
use crate::instance::limits::{EnclosureEvent, Exceeded, LimitError, Mechanism};
use crate::instance::logs::{self, Keeper};
use crate::instance::start::log_end;
use crate::instance::state::{Chronicle, EventKind, Lost, State, Stopped};
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

/// How long until it is tried again to end what could not be ended: at first, and at most.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

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
        watched.remnant.is_started();
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
                is_foreign: matches!(watched.kind, Kind::Foreign),
                running: Running {
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
            self.leave();
            return;
        };
        self.chronicle.enter(State::Stopping);
        let mut pause = SOON;
        loop {
            match self.end(cause, &mut orders, &mut replies, &shared).await {
                Ok(state) => {
                    self.chronicle.enter(state);
                    // Nobody is asked any more, and whoever has asked finds it ended.
                    drop(orders);
                    return;
                }
                Err(error) => {
                    let name = &self.watched.name;
                    tracing::warn!(%error, name, "cannot end an instance");
                    let has_ended = self.watched.processes.has_ended().unwrap_or(false);
                    if has_ended {
                        // What it leaves on disk is noted, for the next to take away.
                        self.chronicle.enter(self.final_state(cause));
                    }
                    answer(&mut replies, name, error);
                    if has_ended {
                        return;
                    }
                }
            }
            // Until somebody wants it tried again, or what it waits for may have passed.
            let again = tokio::time::sleep(pause);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    order = orders.recv() => match order {
                        Some(Order::Stop(_, reply)) => {
                            replies.push(reply);
                            break;
                        }
                        Some(Order::Leave) | None => return,
                        // Whoever asks for something else gets no answer.
                        Some(_) => {}
                    }
                }
            }
            pause = (2 * pause).min(LATER);
        }
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
        if self.wellness == State::Ready {
            // Its server has its ports.
            self.watched.reservations = None;
        }
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

    /// Why it is lost.
    async fn judge(&mut self) -> Cause {
        let record = self.watched.records.folder(&self.watched.name);
        Cause::Lost(self.parts.judge(&record).await)
    }

    /// Ends it, and makes sure that nothing is left of it.
    async fn end(
        &mut self,
        cause: Cause,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        replies: &mut Vec<Reply<()>>,
        shared: &Shared,
    ) -> Result<State, InstanceError> {
        let name = self.watched.name.clone();
        let io_error = |source| InstanceError::Io {
            doing: "stop",
            name: name.clone(),
            source,
        };
        self.health = None;
        if self.watched.is_paused {
            // What stands still obeys nobody; what cannot go on is killed in the end.
            let watched = &mut self.watched;
            if let Err(error) = watched.enclosure.resume().await {
                tracing::warn!(%error, name, "cannot let an instance go on to end it");
            }
            watched.is_paused = false;
        }
        if let Cause::Asked(grace) = cause {
            let grace = grace.unwrap_or(self.watched.grace);
            if let Err(error) = self.ask_to_end(grace, orders, replies).await {
                // It is killed next.
                tracing::warn!(%error, name, "cannot tell an instance to end");
            }
            self.note_exit().await;
        }
        // What its commands were asked for is asked no more, nor is anybody of its name.
        self.watched.slot.close();
        let is_gone = self.watched.processes.kill_all().await.map_err(io_error)?;
        for server in &self.watched.servers {
            // A master that was killed has left them.
            server.pidfd.signal(Signal::KILL).map_err(io_error)?;
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.finish().await;
        }
        // Its logs may go with it.
        let _ = shared.last_words.set(self.last_words());
        let known = match cause {
            Cause::Asked(_) | Cause::Exited if is_gone => Known::Ended,
            _ => Known::Nothing,
        };
        let mut remnant = std::mem::replace(&mut self.watched.remnant, Remnant::nothing());
        let (chronicle, state) = (self.chronicle.clone(), self.final_state(cause));
        if let Kind::Own { note, .. } = &mut self.watched.kind {
            // It is struck out next, and whoever hears of the end may open the journal again.
            *note = None;
        }
        let (cleared, remnant) = blocking(move || {
            let cleared = remnant.clear(known);
            if matches!(cleared, Ok(true)) {
                // Whoever waits for this may be gone.
                chronicle.enter(state);
            }
            (cleared, remnant)
        })
        .await;
        self.watched.remnant = remnant;
        if !cleared.map_err(io_error)? {
            return Err(InstanceError::StillRunning { name });
        }
        Ok(self.final_state(cause))
    }

    /// Tells it to end, and waits until it has, for so long, or less if somebody wants that
    /// meanwhile.
    async fn ask_to_end(
        &mut self,
        grace: Duration,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        replies: &mut Vec<Reply<()>>,
    ) -> io::Result<()> {
        let processes = &self.watched.processes;
        let mut deadline = Instant::now().checked_add(grace);
        let asked = processes.ask_to_end(self.watched.stop_signal, Duration::MAX);
        tokio::pin!(asked);
        loop {
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = &mut asked => return asked.map(drop),
                () = late => return Ok(()),
                order = orders.recv() => match order {
                    Some(Order::Stop(grace, reply)) => {
                        replies.push(reply);
                        let sooner = grace.and_then(|grace| Instant::now().checked_add(grace));
                        if let Some(sooner) = sooner {
                            deadline = Some(deadline.map_or(sooner, |known| known.min(sooner)));
                        }
                    }
                    // Whoever asks for something else gets no answer.
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
        }
    }

    fn last_words(&self) -> String {
        let [_, stderr] = self.watched.records.logs(&self.watched.name);
        log_end(&stderr, self.watched.log_length)
    }

    fn final_state(&self, cause: Cause) -> State {
        let stopped = |was_asked| {
            State::Stopped(Stopped {
                exit: self.exit,
                was_asked,
                is_out_of_memory: self.is_out_of_memory,
            })
        };
        match cause {
            Cause::Asked(_) => stopped(true),
            Cause::Exited => stopped(false),
            // The watchdog kills that where nothing else helps.
            Cause::Lost(Lost::Container) if self.is_out_of_memory || self.has_too_many => {
                stopped(false)
            }
            Cause::Lost(lost) => State::Lost(lost),
        }
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
                let name = &self.watched.name;
                tracing::debug!(%error, name, "nobody knows how a payload ended");
            }
            // It is killed next.
            Err(_) => self.exit = Some(Exit::Signal(Signal::KILL)),
        }
    }

    /// Leaves it running.
    fn leave(&mut self) {
        self.watched.remnant.leave();
        self.chronicle.close();
    }
}

/// Tells all that wait why it cannot be done.
fn answer(replies: &mut Vec<Reply<()>>, name: &str, error: InstanceError) {
    let mut error = Some(error);
    for reply in replies.drain(..) {
        let again = || InstanceError::StillRunning {
            name: name.to_owned(),
        };
        let _ = reply.send(Err(error.take().unwrap_or_else(again)));
    }
}
