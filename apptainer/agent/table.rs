//! The commands that there are.

use crate::pages::List;
use crate::protocol::{End, Usage};
use crate::slot::Ticket;
use crate::sys::{Fd, Result};
use crate::tree::{Commands, Session};

pub(crate) struct Command {
    /// Its number, which no other has.
    pub(crate) id: u64,
    /// The process that it is; 0 once that has been reaped.
    pub(crate) pid: i32,
    /// The link that it came by.
    pub(crate) link: usize,
    /// What its caller is told over, and tells over.
    pub(crate) caller: Option<Fd>,
    /// Ends when it has become its program.
    pub(crate) start: Option<Fd>,
    /// The other end of its terminal, for its caller.
    pub(crate) terminal: Option<Fd>,
    /// Where its request lies.
    pub(crate) ticket: Ticket,
    /// Whether it is killed when its caller hangs up.
    pub(crate) ends_with_caller: bool,
    pub(crate) state: State,
    /// How it ended.
    pub(crate) end: Option<(End, Usage)>,
}

impl Command {
    /// Has it killed, if that has not begun.
    pub(crate) fn doom(&mut self) {
        if matches!(self.state, State::Running | State::Ending) {
            self.state = State::Doomed;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It has been told to end. What is left of it then is killed.
    Ending,
    /// It is to be killed.
    Doomed,
    /// It has been killed, at this time; something of it may still be there.
    Dying(u64),
    /// It has ended, and its caller has not been told.
    Ended,
}

/// A place in the table, for one command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

struct Place {
    generation: u32,
    command: Option<Command>,
}

pub(crate) struct Table {
    places: List<Place>,
    last_id: u64,
}

/// How many bits of a generation there is room for in an event.
pub(crate) const GENERATION_BITS: u32 = 24;

impl Table {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            places: List::new()?,
            last_id: 0,
        })
    }

    /// A number for a new command.
    pub(crate) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn insert(&mut self, command: Command) -> Result<Key> {
        let free = self.places.iter().position(|place| place.command.is_none());
        let index = match free {
            Some(index) => index,
            None => {
                self.places.push(Place {
                    generation: 0,
                    command: None,
                })?;
                self.places.len() - 1
            }
        };
        let place = &mut self.places[index];
        place.command = Some(command);
        Ok(Key {
            index: index as u32,
            generation: place.generation,
        })
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Command> {
        let place = self.places.get_mut(key.index as usize)?;
        let is_its = place.generation == key.generation;
        is_its.then_some(place.command.as_mut()).flatten()
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(place) = self.places.get_mut(key.index as usize)
            && place.generation == key.generation
        {
            place.command = None;
            place.generation = (place.generation + 1) % (1 << GENERATION_BITS);
        }
    }

    /// The key of the command that `wanted` is true of.
    pub(crate) fn find(&self, wanted: impl Fn(&Command) -> bool) -> Option<Key> {
        self.keys_from(0, wanted)
    }

    /// The same, from this place on.
    pub(crate) fn keys_from(&self, first: u32, wanted: impl Fn(&Command) -> bool) -> Option<Key> {
        let mut places = self.places.iter().enumerate().skip(first as usize);
        let (index, place) = places.find(|(_, place)| place.command.as_ref().is_some_and(&wanted))?;
        Some(Key {
            index: index as u32,
            generation: place.generation,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Command> {
        self.places.iter().filter_map(|place| place.command.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Command> {
        let places = self.places.iter_mut();
        places.filter_map(|place| place.command.as_mut())
    }
}

/// The commands that `wanted` is true of.
pub(crate) struct Selected<'t, F> {
    pub(crate) table: &'t Table,
    pub(crate) wanted: F,
}

impl<F: Fn(&Command) -> bool> Commands for Selected<'_, F> {
    fn of_session(&self, leader: i32) -> Session {
        // A session that was made outside of the agent's PID namespace has the number 0,
        // and so has a command that has been reaped.
        let leads = |command: &&Command| command.pid == leader && leader != 0;
        match self.table.iter().find(leads) {
            Some(command) if (self.wanted)(command) => Session::Wanted(command.id),
            Some(_) => Session::Unwanted,
            None => Session::Unknown,
        }
    }

    fn of_orphan(&self, marked: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let id = marked()?;
        let mut commands = self.table.iter();
        let is_wanted = commands.any(|command| command.id == id && (self.wanted)(command));
        is_wanted.then_some(id)
    }
}
