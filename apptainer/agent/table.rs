//! The commands that there are.

use crate::caller::Caller;
use crate::places::Places;
use crate::protocol::{End, Usage};
use crate::slot::Ticket;
use crate::sys::Fd;
use crate::tree::{Commands, Session};

pub(crate) struct Command {
    /// Its number, which no other has.
    pub(crate) id: u64,
    /// The process that it is; 0 once that has been reaped.
    pub(crate) pid: i32,
    /// The link that it came by, if that is one of several.
    pub(crate) link: Option<usize>,
    pub(crate) caller: Option<Caller>,
    /// Ends when it has become its program.
    pub(crate) start: Option<Fd>,
    /// The other end of its terminal, for its caller.
    pub(crate) terminal: Option<Fd>,
    /// Where its request lies.
    pub(crate) ticket: Ticket,
    /// Whether it is killed when its caller hangs up.
    pub(crate) ends_with_caller: bool,
    /// Whether it has time to end when its link does.
    pub(crate) ends_by_itself: bool,
    pub(crate) state: State,
    /// How it ended.
    pub(crate) end: Option<(End, Usage)>,
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

impl Command {
    /// Has it killed, if that has not begun.
    pub(crate) fn doom(&mut self) {
        if matches!(self.state, State::Running | State::Ending) {
            self.state = State::Doomed;
        }
    }
}

/// The commands that `wanted` is true of.
pub(crate) struct Selected<'t, F> {
    pub(crate) table: &'t Places<Command>,
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
        // A mark may have the lower half of the number only.
        let is_its = |command: &&Command| command.id as u32 == id as u32;
        let command = commands.find(|command| is_its(command) && (self.wanted)(command));
        Some(command?.id)
    }
}
