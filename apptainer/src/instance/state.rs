//! How an instance is, from its start to its end.
//!
//! ```text
//! Starting --> Ready <--> Unhealthy
//!    |           |  \\        |
//!    |           |   Paused  (any of the three, and back to it)
//!    v           v            v
//!         Stopping --> Stopped(exit)
//!    any of them   --> Lost(why)
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use apptainer_sys::process::Exit;
use futures_core::Stream;

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is there, and has not been found well yet.
    Starting,
    /// What runs in it is alive, and well as far as its health check tells.
    Ready,
    /// Its health check has failed as often as it may.
    Unhealthy,
    /// All that runs in it is halted.
    Paused,
    /// It is being ended.
    Stopping,
    /// It has ended, and nothing of it is left.
    Stopped(Stopped),
    /// It ended in a way that it was not meant to, and nothing of it is left.
    Lost(Lost),
}

/// How an instance that has ended did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stopped {
    /// How its payload ended; `None` where it had none, or where nobody can tell.
    pub exit: Option<Exit>,
    /// Whether it was told to, in place of ending by itself.
    pub was_asked: bool,
    /// Whether something in it was killed for want of memory.
    pub is_out_of_memory: bool,
}

/// Why an instance is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The process of Apptainer that held it together on the host was killed.
    Master,
    /// The first process in the container was killed by somebody else.
    Container,
    /// The agent that its payload is a child of was killed, and the payload with it.
    Agent,
    /// The program that serves its file system ended.
    FileSystem,
}

impl State {
    /// Whether it has ended: nothing follows.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::Lost(_))
    }

    /// Whether what runs in it is alive, as far as is known.
    pub fn is_running(&self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Ready | Self::Unhealthy | Self::Paused
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Unhealthy => f.write_str("unhealthy"),
            Self::Paused => f.write_str("paused"),
            Self::Stopping => f.write_str("stopping"),
            Self::Stopped(stopped) => write!(f, "stopped ({stopped})"),
            Self::Lost(lost) => write!(f, "lost ({lost})"),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit {
            Some(exit) => exit.fmt(f)?,
            None => f.write_str("exit unknown")?,
        }
        if self.is_out_of_memory {
            f.write_str(", out of memory")?;
        }
        Ok(())
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "Apptainer's process on the host was killed",
            Self::Container => "the container's first process was killed",
            Self::Agent => "the agent in the container was killed",
            Self::FileSystem => "the program that serves its file system ended",
        })
    }
}

/// Something that happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Counts the instance's events, from 0.
    pub number: u64,
    /// When it was noticed.
    pub at: SystemTime,
    /// What it is.
    pub kind: EventKind,
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It is in another state now.
    State(State),
    /// Its payload ended, and it goes on.
    PayloadEnded {
        /// How it ended, where anybody can tell.
        exit: Option<Exit>,
    },
    /// Something in it was killed for want of memory.
    OutOfMemory {
        /// How many processes.
        kills: u64,
    },
    /// More ran in it than may, so that all of it was killed, by a watchdog.
    TooManyProcesses {
        /// How many processes and threads there were.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A health check failed.
    HealthCheckFailed {
        /// How often in a row.
        streak: u32,
        /// Why.
        reason: String,
    },
}

/// How many events are kept for those who read them late.
const KEPT: usize = 1024;

/// What has happened to an instance, and who waits for what comes next.
#[derive(Debug, Clone)]
pub(super) struct Chronicle {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    next: u64,
    kept: VecDeque<Event>,
    /// Those who wait, by their numbers.
    waiting: HashMap<u64, Waker>,
    /// How many have listened.
    listeners: u64,
    is_closed: bool,
}

impl Chronicle {
    /// One that begins with [`State::Starting`].
    pub(super) fn begin() -> Self {
        let chronicle = Self {
            inner: Arc::new(Mutex::new(Inner {
                state: State::Starting,
                next: 0,
                kept: VecDeque::new(),
                waiting: HashMap::new(),
                listeners: 0,
                is_closed: false,
            })),
        };
        chronicle.lock().push(EventKind::State(State::Starting));
        chronicle
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is now.
    pub(super) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Takes note of a new state. What has ended stays so, and what is there already is no news.
    pub(super) fn enter(&self, state: State) {
        let mut inner = self.lock();
        if inner.state.is_final() || inner.state == state {
            return;
        }
        inner.state = state.clone();
        inner.push(EventKind::State(state));
    }

    /// Takes note of something else. Nothing follows the end.
    pub(super) fn note(&self, kind: EventKind) {
        let mut inner = self.lock();
        if !inner.state.is_final() {
            inner.push(kind);
        }
    }

    /// Nothing follows, though it has not ended.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.wake();
    }

    /// How it is now, and all that comes.
    pub(super) fn events_from_now(&self) -> (State, Events) {
        let mut inner = self.lock();
        let events = Events {
            chronicle: self.clone(),
            next: inner.next,
            number: inner.listen(),
        };
        (inner.state.clone(), events)
    }

    /// All that is kept, and all that comes.
    pub(super) fn events(&self) -> Events {
        Events {
            chronicle: self.clone(),
            next: 0,
            number: self.lock().listen(),
        }
    }
}

impl Inner {
    fn wake(&mut self) {
        self.waiting.drain().for_each(|(_, waker)| waker.wake());
    }

    /// The number of another who listens.
    fn listen(&mut self) -> u64 {
        self.listeners += 1;
        self.listeners
    }

    fn push(&mut self, kind: EventKind) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Event {
            number: self.next,
            at: SystemTime::now(),
            kind,
        });
        self.next += 1;
        self.wake();
    }
}

/// What happens to an instance, from its start on: the last 1024 events, and then each as it
/// comes. Whoever reads late has missed those whose [number](Event::number) is missing.
///
/// The last event is a [final](State::is_final) state, and the stream ends with it; it also ends
/// when the instance is left running by who watched it.
#[derive(Debug)]
pub struct Events {
    chronicle: Chronicle,
    next: u64,
    /// Its number among those who listen.
    number: u64,
}

impl Events {
    /// The next event; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// Waits until a state is entered that `wanted` is true of, and gives it; the final one,
    /// where it never is. Cancel-safe.
    pub async fn wait_for(&mut self, wanted: impl Fn(&State) -> bool) -> State {
        while let Some(event) = self.next().await {
            if let EventKind::State(state) = event.kind
                && wanted(&state)
            {
                return state;
            }
        }
        self.chronicle.state()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.chronicle.lock();
        let first = inner.next - inner.kept.len() as u64;
        self.next = self.next.max(first);
        let index = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        if let Some(event) = inner.kept.get(index) {
            self.next += 1;
            return Poll::Ready(Some(event.clone()));
        }
        if inner.state.is_final() || inner.is_closed {
            return Poll::Ready(None);
        }
        inner.waiting.insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.chronicle.lock().waiting.remove(&self.number);
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    fn stopped() -> State {
        State::Stopped(Stopped::default())
    }

    fn state(event: Option<Event>) -> State {
        match event.unwrap().kind {
            EventKind::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn events_begin_with_the_start_and_end_with_the_end() {
        let chronicle = Chronicle::begin();
        chronicle.enter(State::Ready);
        chronicle.enter(State::Ready);
        chronicle.enter(stopped());
        chronicle.enter(State::Ready);
        chronicle.note(EventKind::OutOfMemory { kills: 1 });
        let mut events = chronicle.events();
        for expected in [State::Starting, State::Ready, stopped()] {
            assert_eq!(state(events.next().await), expected);
        }
        assert!(events.next().await.is_none());
        assert_eq!(chronicle.state(), stopped());
    }

    #[test]
    fn who_waits_is_woken() {
        let chronicle = Chronicle::begin();
        let mut events = chronicle.events();
        assert!(assert_ready!(task::spawn(events.next()).poll()).is_some());
        let mut next = task::spawn(events.next());
        assert_pending!(next.poll());
        chronicle.enter(State::Ready);
        assert!(next.is_woken());
        assert_eq!(state(assert_ready!(next.poll())), State::Ready);
    }

    #[test]
    fn whoever_waits_in_vain_leaves_nothing() {
        let chronicle = Chronicle::begin();
        let mut events = chronicle.events();
        assert!(assert_ready!(task::spawn(events.next()).poll()).is_some());
        let mut next = task::spawn(events.next());
        for _ in 0..10 {
            assert_pending!(next.poll());
        }
        assert_eq!(chronicle.lock().waiting.len(), 1);
        drop(next);
        drop(events);
        assert!(chronicle.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn what_was_before_is_not_told_to_who_asks_events_from_now() {
        let chronicle = Chronicle::begin();
        chronicle.enter(State::Ready);
        chronicle.enter(State::Unhealthy);
        let (now, mut events) = chronicle.events_from_now();
        assert_eq!(now, State::Unhealthy);
        chronicle.enter(stopped());
        assert_eq!(state(events.next().await), stopped());
    }

    #[tokio::test]
    async fn who_reads_late_sees_what_is_missing() {
        let chronicle = Chronicle::begin();
        let mut events = chronicle.events();
        for _ in 0..KEPT {
            chronicle.note(EventKind::OutOfMemory { kills: 1 });
        }
        assert_eq!(events.next().await.unwrap().number, 1);
    }
}
