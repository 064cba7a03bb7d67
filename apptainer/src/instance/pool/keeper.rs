//! The task that keeps a pool: it starts, resets and stops instances.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::reset::Original;
use super::shared::{Done, Member, Progress, Returned, Shared, State};
use super::size::Backoff;
use super::{PoolError, Reset};
use crate::instance::supervisor::Plan;
use crate::instance::{InstanceError, Service, Supervisor};

/// How long it may take to reset one.
const RESETTING: Duration = Duration::from_secs(15);

/// Dropped, it hands out no more, and what it was doing is called off.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    supervisor: Supervisor,
    plan: Plan,
    jobs: JoinSet<Outcome>,
    next_number: u64,
    backoff: Backoff,
    /// Nothing is started before.
    not_before: Option<Instant>,
    /// Told when enough are ready, or why that cannot be.
    opening: Option<oneshot::Sender<Result<(), PoolError>>>,
    /// Why it could not be opened.
    failure: Option<PoolError>,
    /// Dropped after all the rest.
    _end: End,
}

/// What a job has come to.
#[derive(Debug)]
enum Outcome {
    Started(Result<Member, InstanceError>),
    /// Whether it can be used again.
    Reset(Returned, bool),
    Stopped(Result<(), InstanceError>, Option<Done>),
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        supervisor: Supervisor,
        plan: Plan,
        opening: oneshot::Sender<Result<(), PoolError>>,
    ) -> Self {
        Self {
            _end: End(Arc::clone(&shared)),
            shared,
            supervisor,
            plan,
            jobs: JoinSet::new(),
            next_number: 0,
            backoff: Backoff::default(),
            not_before: None,
            opening: Some(opening),
            failure: None,
        }
    }

    /// Until it is closed, and nothing of it is left.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let ControlFlow::Continue(wake) = self.see_to_all() {
            let due = async {
                match wake {
                    Some(wake) => sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(joined) = self.jobs.join_next() => match joined {
                    Ok(outcome) => self.take(outcome),
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime is going down.
                        Err(_) => return,
                    },
                },
                () = shared.work.notified() => {}
                () = due => {}
            }
        }
        let told = (self.opening.take(), self.failure.take());
        // With its supervisor, of which nothing is left either, then.
        drop(self);
        if let (Some(opening), Some(error)) = told {
            // Who has dropped that need not know.
            let _ = opening.send(Err(error));
        }
    }

    /// Begins whatever is to be done, and says when to look again, if nothing happens before.
    /// Breaks off when nothing is left.
    fn see_to_all(&mut self) -> ControlFlow<(), Option<Instant>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.sweep();
        self.see_to_discarded(&mut state);
        for returned in std::mem::take(&mut state.returned) {
            self.see_to(&mut state, returned);
        }
        if state.is_closed {
            return self.end(&mut state).map_continue(|()| None);
        }
        if state.idle.len() >= shared.settings.size.min
            && let Some(opening) = self.opening.take()
        {
            // Who has dropped that drops the pool.
            let _ = opening.send(Ok(()));
        }
        let expires = self.stop_surplus(&mut state);
        let retry = self.start_missing(&mut state);
        ControlFlow::Continue([expires, retry].into_iter().flatten().min())
    }

    /// Ends all that may be; breaks off when nothing is left.
    fn end(&mut self, state: &mut State) -> ControlFlow<()> {
        for idle in std::mem::take(&mut state.idle) {
            self.stop(state, idle.member.service, None);
        }
        if state.is_drained {
            for (_, service) in std::mem::take(&mut state.in_use) {
                self.stop(state, service, None);
            }
        }
        let counts = state.counts();
        if counts.all_but_used() > 0 {
            return ControlFlow::Continue(());
        }
        if counts.in_use > 0 {
            self.shared.reach(Progress::InUse);
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }

    /// Stops what has been idle for too long; says when the next has been.
    fn stop_surplus(&mut self, state: &mut State) -> Option<Instant> {
        let size = self.shared.settings.size;
        let limit = size.idle_limit?;
        let now = Instant::now();
        while size.surplus(state.idle.len()) > 0
            && let Some(oldest) = state.idle.pop_front()
        {
            // None is so far away that it never comes.
            let expires = oldest.since.checked_add(limit);
            if expires.is_none_or(|expires| expires > now) {
                state.idle.push_front(oldest);
                return expires;
            }
            self.stop(state, oldest.member.service, None);
        }
        None
    }

    /// Starts what is missing; says when that is to be tried again.
    fn start_missing(&mut self, state: &mut State) -> Option<Instant> {
        let missing = self.shared.settings.size.missing(&state.counts());
        if missing == 0 {
            return None;
        }
        let later = self.not_before.filter(|then| *then > Instant::now());
        if later.is_none() {
            for _ in 0..missing {
                self.start(state);
            }
        }
        later
    }

    fn start(&mut self, state: &mut State) {
        let start = Start {
            number: self.next_number,
            plan: self.plan.again(),
            supervisor: self.supervisor.clone(),
            shared: Arc::clone(&self.shared),
        };
        self.next_number += 1;
        state.starting += 1;
        self.jobs
            .spawn(async move { Outcome::Started(Box::pin(start.run()).await) });
    }

    fn stop(&mut self, state: &mut State, service: Service, done: Option<Done>) {
        state.stopping += 1;
        self.jobs
            .spawn(async move { Outcome::Stopped(service.stop().await, done) });
    }

    /// Decides on one that was given back, or is not well.
    fn see_to(&mut self, state: &mut State, returned: Returned) {
        let settings = self.shared.settings;
        let member = &returned.member;
        let is_worn = settings.max_uses.is_some_and(|most| member.uses >= most);
        let original = match settings.reset {
            Reset::Reuse if !is_worn && !state.is_closed && member.is_well() => &member.original,
            _ => &None,
        };
        let Some(original) = original.clone() else {
            self.stop(state, returned.member.service, returned.done);
            return;
        };
        state.resetting += 1;
        self.jobs.spawn(async move {
            let service = &returned.member.service;
            let restored = async {
                let restored = original.restore(service.processes()).await?;
                io::Result::Ok(restored && service.answers().await.is_ok())
            };
            // Whoever has used it may have halted its agent.
            let is_restored = match timeout(RESETTING, restored).await {
                Ok(Ok(is_restored)) => is_restored,
                Err(_) => false,
                Ok(Err(error)) => {
                    let name = service.name();
                    tracing::warn!(%error, name, "cannot reset an instance of a pool");
                    false
                }
            };
            Outcome::Reset(returned, is_restored)
        });
    }

    fn take(&mut self, outcome: Outcome) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        match outcome {
            Outcome::Started(Ok(member)) => {
                state.starting -= 1;
                if state.is_closed {
                    self.stop(&mut state, member.service, None);
                } else {
                    state.started_total += 1;
                    state.offer(member, &shared);
                }
            }
            Outcome::Started(Err(error)) => {
                state.starting -= 1;
                state.failed_total += 1;
                self.start_failed(&mut state, error);
            }
            Outcome::Reset(Returned { member, done }, is_restored) => {
                state.resetting -= 1;
                if !is_restored || state.is_closed || !member.is_well() {
                    self.stop(&mut state, member.service, done);
                    return;
                }
                state.offer(member, &shared);
                if let Some(done) = done {
                    let _ = done.send(Ok(()));
                }
            }
            Outcome::Stopped(result, done) => {
                state.stopping -= 1;
                let result = result.map_err(|error| {
                    tracing::warn!(%error, "cannot stop an instance of a pool");
                    PoolError::Stop(Arc::new(error))
                });
                if let Err(error) = &result {
                    state.stop_error.get_or_insert(error.clone());
                }
                if let Some(done) = done {
                    let _ = done.send(result);
                }
            }
        }
    }

    /// Stops those that were not well while nobody used them.
    fn see_to_discarded(&mut self, state: &mut State) {
        for member in std::mem::take(&mut state.discarded) {
            state.last_failure = Some(Arc::new(member.service.has_ended()));
            // It may be one of which all end soon after they are ready.
            if member.uses == 0 {
                self.put_off();
            }
            if self.opening.is_some() {
                self.fail(state, member.service.has_ended().into());
            }
            self.stop(state, member.service, None);
        }
    }

    fn start_failed(&mut self, state: &mut State, error: InstanceError) {
        tracing::warn!(%error, "cannot start an instance of a pool");
        self.put_off();
        let error = PoolError::from(error);
        if let PoolError::Start(failure) = &error {
            state.last_failure = Some(Arc::clone(failure));
        }
        if self.opening.is_some() {
            self.fail(state, error);
        } else if !self.has_hope(state) {
            state.refuse(&error);
        }
    }

    /// Starts nothing for a while.
    fn put_off(&mut self) {
        let now = Instant::now();
        // What fails together is one failure.
        if self.not_before.is_none_or(|then| then <= now) {
            self.not_before = Some(self.backoff.next(now));
        }
    }

    /// Gives up opening it.
    fn fail(&mut self, state: &mut State, error: PoolError) {
        self.failure.get_or_insert(error);
        self.shared.close_locked(state);
    }

    /// Whether those who wait may get one without another start.
    fn has_hope(&self, state: &State) -> bool {
        let counts = state.counts();
        let comes_back = match self.shared.settings.reset {
            Reset::Reuse => counts.in_use,
            Reset::Replace => 0,
        };
        counts.starting + counts.resetting + comes_back > 0
    }
}

/// Dropped, it says that nobody keeps the pool any more.
#[derive(Debug)]
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        self.0.close_locked(&mut state);
        // Nobody sees to them any more: their supervisor does.
        let idle = std::mem::take(&mut state.idle);
        let returned = std::mem::take(&mut state.returned);
        let discarded = std::mem::take(&mut state.discarded);
        state.in_use.clear();
        drop(state);
        drop((idle, returned, discarded));
        self.0.reach(Progress::Over);
    }
}

/// Starting one.
struct Start {
    number: u64,
    plan: Plan,
    supervisor: Supervisor,
    shared: Arc<Shared>,
}

impl Start {
    /// Gives one that is ready, or any where none is wanted any more. Failing, it leaves nothing.
    async fn run(self) -> Result<Member, InstanceError> {
        let service = self.supervisor.start_planned(&self.plan).await?;
        let mut progress = self.shared.progress.subscribe();
        let limit = self.plan.deadline();
        let warmed = tokio::select! {
            warmed = timeout(limit, self.warm(&service)) => warmed,
            _ = progress.wait_for(|progress| *progress > Progress::Open) => Ok(Ok(None)),
        };
        let error = match warmed {
            Ok(Ok(original)) => {
                let shared = &self.shared;
                return Ok(Member::new(self.number, service, original, shared));
            }
            Ok(Err(error)) => error,
            Err(_) => service.is_late(limit),
        };
        service.stop().await?;
        Err(error)
    }

    /// Waits until a command runs in it at once.
    async fn warm(&self, service: &Service) -> Result<Option<Original>, InstanceError> {
        service.ready().await?;
        service.answers().await?;
        if self.shared.settings.reset == Reset::Replace {
            return Ok(None);
        }
        let original = Original::of(service.processes()).await;
        let original = original.map_err(|source| InstanceError::Io {
            doing: "start",
            name: service.name().to_owned(),
            source,
        })?;
        Ok(Some(original))
    }
}
