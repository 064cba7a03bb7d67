//! The agent: what it has, and how it goes from one event to the next.

use crate::link::{LINKS, Link};
use crate::places::{GENERATION_BITS, Key, Places};
use crate::protocol::Orphans;
use crate::slot::Slots;
use crate::sys::{self, EPOLLET, EPOLLIN, Event, Fd, Interest, Result, Rlimit};
use crate::table::Command;
use crate::tree::Tree;
use crate::wire::Wire;

pub(crate) struct Agent {
    pub(crate) epoll: Fd,
    pub(crate) signals: Fd,
    pub(crate) listener: Option<Fd>,
    pub(crate) links: [Option<Link>; LINKS],
    /// Keeps room for one descriptor: that of whoever has to be told that there is none for
    /// others.
    pub(crate) spare: Option<Fd>,
    pub(crate) wire: Option<Wire>,
    pub(crate) commands: Places<Command>,
    /// The number of the last one.
    pub(crate) last_id: u64,
    pub(crate) slots: Slots,
    pub(crate) tree: Tree,
    pub(crate) own: Own,
    pub(crate) orphans: Orphans,
    /// Whether requests wait for a slot.
    pub(crate) is_starved: bool,
    /// Whether there are commands to kill, or such as may just have gone.
    pub(crate) has_doomed: bool,
    /// When to look again whether what has been killed is gone, on the clock of
    /// [`now`](sys::now), if anything is left of it.
    pub(crate) next_look: Option<u64>,
    /// When to accept again who could not be, on the same clock.
    pub(crate) next_accept: Option<u64>,
    /// When nothing is waited for any more that was to end by itself, on the same clock.
    pub(crate) last_wait: Option<u64>,
}

/// What the agent itself was started with, and is.
pub(crate) struct Own {
    pub(crate) pid: i32,
    pub(crate) environment: &'static [*const u8],
    pub(crate) mask: u64,
    pub(crate) descriptors: Rlimit,
    /// The hard limit on what the mark is a soft limit on.
    pub(crate) most_locks: u64,
    /// Marks what it starts.
    pub(crate) token: [u8; 16],
}

/// What an event is about, as it is registered.
#[derive(Clone, Copy)]
pub(crate) enum Topic {
    Signals,
    Listener,
    Link(usize),
    /// What a command's caller says.
    Caller(Key),
    /// That a command runs.
    Start(Key),
    /// The stream from the caller.
    Input,
    /// The stream to the caller.
    Output,
    /// A command's standard stream that is carried by frames: whose, and which.
    Carried(Key, u8),
}

impl Topic {
    pub(crate) fn pack(self) -> u64 {
        let of = |kind: u64, key: Key| {
            kind << 56 | u64::from(key.generation) << 32 | u64::from(key.index)
        };
        match self {
            Self::Signals => 0,
            Self::Listener => 1 << 56,
            Self::Link(index) => 2 << 56 | index as u64,
            Self::Caller(key) => of(3, key),
            Self::Start(key) => of(4, key),
            Self::Input => 5 << 56,
            Self::Output => 6 << 56,
            Self::Carried(key, stream) => of(7 + u64::from(stream), key),
        }
    }

    fn unpack(data: u64) -> Option<Self> {
        let key = Key {
            index: data as u32,
            generation: (data >> 32) as u32 & ((1 << GENERATION_BITS) - 1),
        };
        match data >> 56 {
            0 => Some(Self::Signals),
            1 => Some(Self::Listener),
            2 => Some(Self::Link(key.index as usize)),
            3 => Some(Self::Caller(key)),
            4 => Some(Self::Start(key)),
            5 => Some(Self::Input),
            6 => Some(Self::Output),
            kind @ 7..=9 => Some(Self::Carried(key, kind as u8 - 7)),
            _ => None,
        }
    }
}

impl Agent {
    /// One that nobody is connected to yet.
    pub(crate) fn new(own: Own, relayed: &[i32]) -> Result<Self> {
        let heard = relayed.iter().chain(&[sys::SIGCHLD]);
        let heard = heard.fold(0, |mask, signal| mask | 1 << (signal - 1));
        let agent = Self {
            epoll: sys::epoll_create()?,
            signals: sys::signal_fd(heard)?,
            listener: None,
            links: [const { None }; LINKS],
            spare: None,
            wire: None,
            commands: Places::new()?,
            last_id: 0,
            slots: Slots::new()?,
            tree: Tree::new()?,
            own,
            orphans: Orphans::Kill,
            is_starved: false,
            has_doomed: false,
            next_look: None,
            next_accept: None,
            last_wait: None,
        };
        agent.watch(&agent.signals, Topic::Signals)?;
        Ok(agent)
    }

    /// Accepts callers here.
    pub(crate) fn listen(&mut self, listener: Fd) -> Result<()> {
        // Told once: where a connection cannot be accepted there is no point in trying on.
        self.watch_for(&listener, Topic::Listener, EPOLLIN | EPOLLET)?;
        self.listener = Some(listener);
        Ok(())
    }

    pub(crate) fn watch(&self, fd: &Fd, topic: Topic) -> Result<()> {
        self.watch_for(fd, topic, EPOLLIN)
    }

    pub(crate) fn watch_for(&self, fd: &Fd, topic: Topic, events: u32) -> Result<()> {
        sys::epoll_watch(&self.epoll, Interest::Add, fd, events, topic.pack())
    }

    /// Does what comes up, until there is nobody to do it for.
    pub(crate) fn serve(&mut self) -> ! {
        let mut events = [Event { events: 0, data: 0 }; 64];
        loop {
            let count = sys::epoll_wait(&self.epoll, &mut events, self.timeout()).unwrap_or(0);
            if self.is_starved {
                self.resume();
            }
            for event in &events[..count] {
                self.handle(event);
            }
            if self.has_doomed || self.next_look.is_some_and(|look| look <= sys::now()) {
                self.kill_doomed();
            }
            if self.next_accept.is_some_and(|due| due <= sys::now()) {
                self.accept();
            }
            self.carry();
            let is_alone = self.wire.is_none() && self.links.iter().all(Option::is_none);
            if self.orphans == Orphans::Kill && is_alone && !self.waits_for_ends() {
                self.kill_everything();
                sys::exit(0)
            }
        }
    }

    fn handle(&mut self, event: &Event) {
        match Topic::unpack(event.data) {
            Some(Topic::Signals) => self.note_signals(),
            Some(Topic::Listener) => self.accept(),
            Some(Topic::Link(index)) => self.note_link(index, event.events),
            Some(Topic::Caller(key)) => self.hear_caller(key),
            Some(Topic::Start(key)) => self.note_start(key),
            Some(Topic::Input) => self.note_input(event.events),
            Some(Topic::Output) => self.note_output(),
            Some(Topic::Carried(key, stream)) => self.note_carried(key, stream, event.events),
            None => {}
        }
    }

    /// How long to wait for an event: something is asked again and again while it is
    /// awaited.
    fn timeout(&self) -> i32 {
        // What is full is told of as it empties.
        let waits_for_slot = self.is_starved && !self.wire.as_ref().is_some_and(Wire::is_full);
        let due = [self.next_look, self.next_accept, self.last_wait];
        match due.into_iter().flatten().min() {
            _ if self.wire.as_ref().is_some_and(Wire::has_more) => 0,
            _ if waits_for_slot => 1,
            Some(due) => due.saturating_sub(sys::now()) as i32,
            None => -1,
        }
    }
}
