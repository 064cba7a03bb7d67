//! Starting a command.

use core::mem::MaybeUninit;

use crate::agent::{Agent, Topic};
use crate::child::{Plan, child};
use crate::mark::Mark;
use crate::pages::Pages;
use crate::protocol::{MAX_WORDS, Reply, Spawn, Stage, flags};
use crate::slot::Ticket;
use crate::socket::{self, Message};
use crate::syscall::clone;
use crate::sys::{self, Errno, Fd, Result};
use crate::table::{Command, Key, State};
use crate::terminal;
use crate::words::lay_out;

type Failure = (Stage, Errno);

/// The descriptors of a new command.
struct Streams {
    theirs: [Option<Fd>; 3],
    /// The end of its terminal that shows it, and the terminal.
    terminal: Option<(Fd, Fd)>,
}

impl Streams {
    fn numbers(&self) -> [i32; 3] {
        match &self.terminal {
            Some((_, terminal)) => [terminal.number(); 3],
            None => self.theirs.each_ref().map(|fd| fd.as_ref().map_or(-1, Fd::number)),
        }
    }
}

/// What a command that is being started will be known by.
struct Place {
    key: Key,
    id: u64,
    ticket: Ticket,
}

impl Agent {
    /// Starts what is asked for, and tells the caller where that fails. What has been
    /// started is told of when it runs, if the caller wants that, and when it ends.
    pub(crate) fn spawn(
        &mut self,
        link: usize,
        ticket: Ticket,
        spawn: &Spawn<'static>,
        mut message: Message,
    ) {
        let Some(caller) = message.take_fd() else {
            // Nobody to tell: whoever waits sees the other end closed.
            return self.slots.give_back(ticket);
        };
        let id = self.commands.new_id();
        let command = Command {
            id,
            pid: 0,
            link,
            caller: Some(caller),
            start: None,
            terminal: None,
            ticket,
            ends_with_caller: spawn.flags & flags::KILL_ON_HANGUP != 0,
            state: State::Running,
            end: None,
        };
        // What there is no place for is dropped, and its caller sees that.
        let Ok(key) = self.commands.insert(command) else {
            return self.slots.give_back(ticket);
        };
        let place = Place { key, id, ticket };
        let spawned = if self.is_welcome(link) {
            self.try_spawn(&place, spawn, message)
        } else {
            Err((Stage::Request, Errno::PERM))
        };
        if let Err((stage, Errno(error))) = spawned {
            self.slots.give_back(ticket);
            let command = self.commands.get(key);
            if let Some(caller) = command.and_then(|command| command.caller.take()) {
                let _ = socket::send(&caller, Reply::Failed { stage, error }, None);
            }
            self.commands.remove(key);
        }
    }

    fn try_spawn(
        &mut self,
        place: &Place,
        spawn: &Spawn<'static>,
        mut message: Message,
    ) -> core::result::Result<(), Failure> {
        let at = |stage| move |error| (stage, error);
        if message.lacks_fds {
            return Err((Stage::Descriptors, Errno::MFILE));
        }
        let streams = open_streams(spawn, &mut message)?;
        let (words, apart) = find_words(spawn, &mut message).map_err(at(Stage::Request))?;
        let slot = self.slots.slot(place.ticket);
        // SAFETY: the slot is this command's, and nobody else uses what is in it.
        let (mark, room) = unsafe { (&mut *slot.mark.get(), &mut *slot.pointers.get()) };
        *mark = Mark::new(&self.own.token, place.id);
        let words = lay_out(spawn, words, self.own.environment, mark, room);
        let words = words.map_err(at(Stage::Process))?;
        let plan = Plan {
            slot,
            agent: self.own.pid,
            streams: streams.numbers(),
            has_terminal: streams.terminal.is_some(),
            mask: self.own.mask,
            descriptors: self.own.descriptors,
            limits: spawn.limits,
            nice: spawn.nice,
            umask: spawn.umask,
            directory: words.directory,
            argv: words.argv,
            envp: words.envp,
            path: words.path,
        };
        // SAFETY: as above.
        unsafe { *slot.plan.get() = MaybeUninit::new(plan) };
        self.slots.keep(place.ticket, apart, words.memory);

        let wants_start = spawn.flags & (flags::REPORT_START | flags::TERMINAL) != 0;
        // The new process has the other end until it is its program.
        let start = if wants_start {
            let (start, theirs) = sys::pipe().map_err(at(Stage::Process))?;
            self.watch(&start, Topic::Start(place.key)).map_err(at(Stage::Process))?;
            Some((start, theirs))
        } else {
            None
        };
        self.watch_caller(place.key).map_err(at(Stage::Process))?;
        let pid = self.clone_child(place.ticket).map_err(at(Stage::Process))?;
        if let Some(command) = self.commands.get(place.key) {
            command.pid = pid;
            command.start = start.map(|(start, _)| start);
            command.terminal = streams.terminal.map(|(controller, _)| controller);
        }
        Ok(())
    }

    fn watch_caller(&mut self, key: Key) -> Result<()> {
        let command = self.commands.get(key);
        let Some(caller) = command.and_then(|command| command.caller.take()) else {
            return Err(Errno::BADF);
        };
        let watched = self.watch(&caller, Topic::Caller(key));
        if let Some(command) = self.commands.get(key) {
            command.caller = Some(caller);
        }
        watched
    }

    fn clone_child(&self, ticket: Ticket) -> Result<i32> {
        const CLONE_VM: usize = 0x100;
        const CLONE_CHILD_CLEARTID: usize = 0x0020_0000;
        let slot = self.slots.slot(ticket);
        slot.alive.store(1, core::sync::atomic::Ordering::Release);
        let flags = CLONE_VM | CLONE_CHILD_CLEARTID | sys::SIGCHLD as usize;
        // SAFETY: stack and plan are the slot's, which is left alone until `alive` is 0.
        let result = unsafe {
            let plan = slot.plan.get().cast::<Plan>();
            clone(flags, slot.stack_end(), slot.alive.as_ptr(), child, plan)
        };
        if result < 0 {
            slot.alive.store(0, core::sync::atomic::Ordering::Release);
            return Err(Errno(-result as i32));
        }
        Ok(result as i32)
    }
}

fn open_streams(
    spawn: &Spawn<'_>,
    message: &mut Message,
) -> core::result::Result<Streams, Failure> {
    let mut streams = Streams {
        theirs: [const { None }; 3],
        terminal: None,
    };
    if spawn.flags & flags::TERMINAL != 0 {
        let opened = terminal::open(spawn.rows, spawn.columns);
        streams.terminal = Some(opened.map_err(|error| (Stage::Terminal, error))?);
        return Ok(streams);
    }
    for stream in &mut streams.theirs {
        *stream = Some(message.take_fd().ok_or((Stage::Request, Errno::BADF))?);
    }
    Ok(streams)
}

/// Where a command's words are, and the memory that they are in where that is not the
/// message.
fn find_words(
    spawn: &Spawn<'static>,
    message: &mut Message,
) -> Result<(&'static [u8], Option<Pages>)> {
    if spawn.flags & flags::WORDS_APART == 0 {
        return Ok((spawn.words, None));
    }
    const F_SEAL_SHRINK: usize = 2;
    const F_SEAL_WRITE: usize = 8;
    let file = message.take_fd().ok_or(Errno::BADF)?;
    // A file that could still change might do so between being checked and being used.
    let seals = sys::fcntl(&file, sys::F_GET_SEALS, 0)?;
    if seals & F_SEAL_SHRINK == 0 || seals & F_SEAL_WRITE == 0 {
        return Err(Errno::PERM);
    }
    let length = sys::length(&file)?;
    if length > MAX_WORDS {
        return Err(Errno::TOO_BIG);
    }
    let pages = Pages::of_file(&file, length)?;
    // SAFETY: the pages are kept for as long as the slot is lent, and the words are used
    // no longer.
    let words = unsafe { core::slice::from_raw_parts(pages.at::<u8>().cast_const(), length) };
    if spawn.are_words(words) {
        Ok((words, Some(pages)))
    } else {
        Err(Errno::INVAL)
    }
}
