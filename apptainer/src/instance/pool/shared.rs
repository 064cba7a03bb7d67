//! What the handles of a pool share with the task that keeps it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apptainer_sys::process::Exit;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::reset::Original;
use super::size::Counts;
use super::{Checkout, PoolError, PoolSize, PoolStats, Reset};
use crate::instance::{EventKind, InstanceError, Service, State as Condition};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Wakes the task: there is something to do.
    pub(super) work: Notify,
    /// How far it has been shut down.
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) size: PoolSize,
    pub(super) reset: Reset,
    pub(super) max_uses: Option<u32>,
    pub(super) timeout: Duration,
}

/// How far a pool has been shut down. Each comes after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Open,
    Closing,
    /// Only those that are in use are left.
    InUse,
    Over,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The one that has been so longest first.
    pub(super) idle: VecDeque<Idle>,
    /// Those that are checked out, by number.
    pub(super) in_use: HashMap<u64, Service>,
    /// What the task has to see to.
    pub(super) returned: Vec<Returned>,
    /// Those that were not well while they were idle.
    pub(super) discarded: Vec<Member>,
    pub(super) starting: usize,
    pub(super) resetting: usize,
    pub(super) stopping: usize,
    /// Those who wait, in order. While somebody does, none is idle.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) is_closed: bool,
    /// Whether those that are in use are to be stopped.
    pub(super) is_drained: bool,
    pub(super) started_total: u64,
    pub(super) failed_total: u64,
    pub(super) checked_out_total: u64,
    pub(super) discarded_total: u64,
    /// Why one could not be stopped.
    pub(super) stop_error: Option<PoolError>,
    /// Why the last one that was to be there is not, since one was given out.
    pub(super) last_failure: Option<Arc<InstanceError>>,
}

type Handed = Result<Checkout, PoolError>;
pub(super) type Waiting = oneshot::Sender<Handed>;

/// What who wants one gets.
pub(super) enum Taken {
    Now(Checkout),
    Later(oneshot::Receiver<Handed>),
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) member: Member,
    pub(super) since: Instant,
}

/// One that is not to be handed out as it is.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) member: Member,
    /// Told when it has been seen to.
    pub(super) done: Option<Done>,
}

pub(super) type Done = oneshot::Sender<Result<(), PoolError>>;

/// An instance of a pool.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: u64,
    pub(super) service: Service,
    pub(super) uses: u32,
    /// What it is reset to, where that is done.
    pub(super) original: Option<Arc<Original>>,
    watch: Watch,
}

impl Member {
    /// Must be called in a tokio runtime.
    pub(super) fn new(
        number: u64,
        service: Service,
        original: Option<Original>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            number,
            uses: 0,
            original: original.map(Arc::new),
            watch: Watch::of(&service, shared),
            service,
        }
    }

    /// Whether it can be handed out.
    pub(super) fn is_well(&self) -> bool {
        self.service.state() == Condition::Ready && !self.watch.has_ended.load(Ordering::Acquire)
    }
}

/// Wakes the pool's task whenever an instance is in another state.
#[derive(Debug)]
struct Watch {
    task: AbortHandle,
    /// Whether its payload has failed, though it goes on.
    has_ended: Arc<AtomicBool>,
}

impl Watch {
    fn of(service: &Service, shared: &Arc<Shared>) -> Self {
        let (mut events, shared) = (service.events(), Arc::clone(shared));
        let has_ended = Arc::<AtomicBool>::default();
        let noted = Arc::clone(&has_ended);
        let watch = async move {
            while let Some(event) = events.next().await {
                match event.kind {
                    EventKind::State(_) => {}
                    // A startscript that has put something into the background ends well.
                    EventKind::PayloadEnded { exit } if exit.is_some_and(Exit::success) => continue,
                    EventKind::PayloadEnded { .. } => noted.store(true, Ordering::Release),
                    _ => continue,
                }
                shared.work.notify_one();
            }
        };
        Self {
            task: tokio::spawn(watch).abort_handle(),
            has_ended,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
            work: Notify::new(),
            progress: watch::Sender::new(Progress::Open),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one out, or has the caller wait for it.
    pub(super) fn take(self: &Arc<Self>) -> Result<Taken, PoolError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(PoolError::Closed);
        }
        // Whoever has been gone since does not count.
        state.waiting.retain(|waiting| !waiting.is_closed());
        let taken = state.take_idle();
        // There is one less, or one to be replaced.
        self.work.notify_one();
        if let Some(member) = taken {
            return Ok(Taken::Now(state.hand_out(member, self)));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Ok(Taken::Later(receiver))
    }

    /// Takes one back; where nobody has used it, for the next at once. Gives it where it is not
    /// the pool's any more.
    pub(super) fn take_back(
        self: &Arc<Self>,
        member: Member,
        is_used: bool,
        done: Option<Done>,
    ) -> Result<(), Member> {
        let mut state = self.lock();
        if state.in_use.remove(&member.number).is_none() {
            return Err(member);
        }
        if is_used || state.is_closed {
            state.returned.push(Returned { member, done });
        } else {
            state.offer(member, self);
        }
        self.work.notify_one();
        Ok(())
    }

    /// Has it no more be the pool's, if it was until now.
    pub(super) fn release(&self, member: Member) -> Service {
        self.lock().in_use.remove(&member.number);
        self.work.notify_one();
        member.service
    }

    /// Hands out no more, and has those that are idle stopped; those in use as well, where that
    /// is said.
    pub(super) fn close(&self, is_drained: bool) {
        let mut state = self.lock();
        state.is_drained |= is_drained;
        self.close_locked(&mut state);
    }

    pub(super) fn close_locked(&self, state: &mut State) {
        state.is_closed = true;
        // Those who wait are told by that.
        state.waiting.clear();
        self.reach(Progress::Closing);
        self.work.notify_one();
    }

    pub(super) fn reach(&self, progress: Progress) {
        self.progress.send_if_modified(|current| {
            let is_later = progress > *current;
            *current = (*current).max(progress);
            is_later
        });
    }
}

impl State {
    /// One that is well, and has waited least.
    fn take_idle(&mut self) -> Option<Member> {
        while let Some(Idle { member, .. }) = self.idle.pop_back() {
            if member.is_well() {
                return Some(member);
            }
            self.discard(member);
        }
        None
    }

    /// Has all replaced that are idle and not well.
    pub(super) fn sweep(&mut self) {
        for idle in std::mem::take(&mut self.idle) {
            if idle.member.is_well() {
                self.idle.push_back(idle);
            } else {
                self.discard(idle.member);
            }
        }
    }

    fn discard(&mut self, member: Member) {
        let (name, state) = (member.service.name(), member.service.state());
        tracing::warn!(name, %state, "an instance of a pool is not well, and replaced");
        self.discarded_total += 1;
        self.discarded.push(member);
    }

    fn hand_out(&mut self, member: Member, shared: &Arc<Shared>) -> Checkout {
        self.last_failure = None;
        self.in_use.insert(member.number, member.service.clone());
        Checkout::new(member, shared)
    }

    /// Hands one to who has waited longest, or lets it wait; not one that is not well.
    pub(super) fn offer(&mut self, mut member: Member, shared: &Arc<Shared>) {
        if !member.is_well() {
            self.discard(member);
            return;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            let checkout = self.hand_out(member, shared);
            let Err(Ok(checkout)) = waiting.send(Ok(checkout)) else {
                return;
            };
            // Nobody waits there any more.
            let Some(back) = checkout.into_member() else {
                return;
            };
            self.in_use.remove(&back.number);
            member = back;
        }
        let since = Instant::now();
        self.idle.push_back(Idle { member, since });
    }

    /// Tells all that wait that none can be had.
    pub(super) fn refuse(&mut self, error: &PoolError) {
        for waiting in self.waiting.drain(..) {
            // Who is gone need not know.
            let _ = waiting.send(Err(error.clone()));
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let waiting = self.waiting.iter().filter(|waiting| !waiting.is_closed());
        Counts {
            idle: self.idle.len(),
            in_use: self.in_use.len(),
            starting: self.starting,
            resetting: self.resetting,
            stopping: self.stopping + self.returned.len() + self.discarded.len(),
            waiting: waiting.count(),
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let counts = self.counts();
        PoolStats {
            idle: counts.idle,
            in_use: counts.in_use,
            starting: counts.starting,
            resetting: counts.resetting,
            stopping: counts.stopping,
            waiting: counts.waiting,
            started_total: self.started_total,
            failed_total: self.failed_total,
            checked_out_total: self.checked_out_total,
            discarded_total: self.discarded_total,
        }
    }
}
