//! Ending an instance, whoever wants it, and making sure that nothing is left.

use std::io;
use std::time::Duration;

use apptainer_sys::process::{Exit, Signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Cause, Reply, Watch};
use crate::blocking::blocking;
use crate::instance::InstanceError;
use crate::instance::start::log_end;
use crate::instance::state::{Lost, State, Stopped};
use crate::instance::supervisor::parts::Payload;
use crate::instance::supervisor::remnant::{Known, Remnant};
use crate::instance::supervisor::service::{Order, Shared};
use crate::instance::supervisor::watched::Kind;

/// How long until it is tried again to end what could not be ended: at first, and at most.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

impl Watch {
    /// Ends it, and tries again until that has been done.
    pub(super) async fn end_surely(
        mut self,
        cause: Cause,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut replies: Vec<Reply<()>>,
        shared: &Shared,
    ) {
        self.chronicle.enter(State::Stopping);
        let mut pause = SOON;
        loop {
            match self.end(cause, &mut orders, &mut replies, shared).await {
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

    /// Why it is lost.
    pub(super) async fn judge(&mut self) -> Cause {
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
