//! Starting a command.

use core::mem::MaybeUninit;

use crate::agent::{Agent, Topic};
use crate::caller::Caller;
use crate::child::{Plan, child};
use crate::mark::{self, Mark};
use crate::pages::Pages;
use crate::places::Key;
use crate::protocol::{MAX_WORDS, Spawn, Stage, flags};
use crate::relay::{Relay, Sink, Source};
use crate::slot::Ticket;
use crate::socket::Message;
use crate::sys::{self, Errno, Fd, Result, Rlimit};
use crate::syscall::clone;
use crate::table::{Command, State};
use crate::terminal;
use crate::words::lay_out;

type Failure = (Stage, Errno);
type Attempt<T> = core::result::Result<T, Failure>;

/// How a request came.
pub(crate) struct Origin {
    transport: Transport,
    /// Whether its sender has said who it is.
    is_welcome: bool,
}

enum Transport {
    /// Over this link, with descriptors.
    Link(usize, Message),
    /// On this channel, with these words, if they came apart.
    Channel(u32, Option<(Pages, usize)>),
}

impl Origin {
    pub(crate) fn of_link(link: usize, message: Message, is_welcome: bool) -> Self {
        Self {
            transport: Transport::Link(link, message),
            is_welcome,
        }
    }

    pub(crate) fn of_channel(
        channel: u32,
        words: Option<(Pages, usize)>,
        is_welcome: bool,
    ) -> Self {
        Self {
            transport: Transport::Channel(channel, words),
            is_welcome,
        }
    }

    fn link(&self) -> Option<usize> {
        match self.transport {
            Transport::Link(link, _) => Some(link),
            Transport::Channel(..) => None,
        }
    }

    /// Whom to tell; nobody, where that did not come along: who waits sees the other end
    /// closed.
    fn take_caller(&mut self) -> Option<Caller> {
        match &mut self.transport {
            Transport::Link(_, message) => message.take_fd().map(Caller::Socket),
            Transport::Channel(channel, _) => Some(Caller::Channel(*channel)),
        }
    }

    /// Where a command's words are, and the memory that they are in where that is not the
    /// message.
    fn take_words(&mut self, spawn: &Spawn<'static>) -> Result<(&'static [u8], Option<Pages>)> {
        if spawn.flags & flags::WORDS_APART == 0 {
            return Ok((spawn.words, None));
        }
        let (pages, length) = match &mut self.transport {
            Transport::Link(_, message) => map_words(message)?,
            Transport::Channel(_, words) => words.take().ok_or(Errno::BADF)?,
        };
        // SAFETY: the pages are kept for as long as the slot is lent, and the words are
        // used no longer.
        let words = unsafe { core::slice::from_raw_parts(pages.at::<u8>().cast_const(), length) };
        if spawn.are_words(words) {
            Ok((words, Some(pages)))
        } else {
            Err(Errno::INVAL)
        }
    }
}

/// The words in a message's memory file.
fn map_words(message: &mut Message) -> Result<(Pages, usize)> {
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
    Ok((Pages::of_file(&file, length)?, length))
}

/// The descriptors of a new command.
struct Streams {
    theirs: [Fd; 3],
    /// Our ends of what frames carry.
    ours: [Option<Fd>; 3],
    /// The end of its terminal that shows it.
    terminal: Option<Fd>,
    side_channel: Option<Fd>,
}

fn open_streams(spawn: &Spawn<'_>, origin: &mut Origin) -> Attempt<Streams> {
    let at = |stage| move |error| (stage, error);
    let has_terminal = spawn.flags & flags::TERMINAL != 0;
    let is_stream = matches!(origin.transport, Transport::Channel(..));
    let mut take = || match &mut origin.transport {
        Transport::Link(_, message) => message.take_fd().ok_or((Stage::Request, Errno::BADF)),
        Transport::Channel(..) => Err((Stage::Request, Errno::INVAL)),
    };
    let mut streams = if has_terminal {
        open_terminal(spawn).map_err(at(Stage::Terminal))?
    } else if is_stream {
        open_pipes(spawn.flags).map_err(at(Stage::Descriptors))?
    } else {
        Streams {
            theirs: [take()?, take()?, take()?],
            ours: [None, None, None],
            terminal: None,
            side_channel: None,
        }
    };
    if spawn.flags & flags::SIDE_CHANNEL != 0 {
        streams.side_channel = Some(take()?);
    }
    Ok(streams)
}

fn open_terminal(spawn: &Spawn<'_>) -> Result<Streams> {
    let (controller, terminal) = terminal::open(spawn.rows, spawn.columns)?;
    Ok(Streams {
        theirs: [
            sys::duplicate(&terminal)?,
            sys::duplicate(&terminal)?,
            terminal,
        ],
        ours: [None, None, None],
        terminal: Some(controller),
        side_channel: None,
    })
}

fn open_pipes(flags: u32) -> Result<Streams> {
    let mut ours = [None, None, None];
    let mut open = |stream: usize| {
        if flags & flags::PIPED[stream] == 0 {
            return sys::open(c"/dev/null", sys::O_RDWR);
        }
        let (reader, writer) = sys::pipe()?;
        let (own, theirs) = if stream == 0 {
            (writer, reader)
        } else {
            (reader, writer)
        };
        // One that is not granted is smaller.
        let _ = sys::fcntl(&own, sys::F_SETPIPE_SZ, 256 * 1024);
        sys::fcntl(&own, sys::F_SETFL, sys::O_NONBLOCK)?;
        ours[stream] = Some(own);
        Ok(theirs)
    };
    let theirs = [open(0)?, open(1)?, open(2)?];
    Ok(Streams {
        theirs,
        ours,
        terminal: None,
        side_channel: None,
    })
}

impl Streams {
    /// What frames carry of them.
    fn relay(&mut self, channel: u32) -> Result<Relay> {
        if let Some(controller) = self.terminal.take() {
            sys::fcntl(&controller, sys::F_SETFL, sys::O_NONBLOCK)?;
            let sink = Sink::new(Some(sys::duplicate(&controller)?), true);
            let sources = [
                Source::new(Some(controller), true),
                Source::new(None, false),
            ];
            return Ok(Relay {
                channel,
                sources,
                sink,
            });
        }
        let [stdin, stdout, stderr] = self.ours.each_mut().map(Option::take);
        Ok(Relay {
            channel,
            sources: [Source::new(stdout, false), Source::new(stderr, false)],
            sink: Sink::new(stdin, false),
        })
    }
}

impl Agent {
    /// Starts what is asked for, and tells the caller where that fails. What has been
    /// started is told of when it runs, if the caller wants that, and when it ends.
    pub(crate) fn spawn(&mut self, ticket: Ticket, spawn: &Spawn<'static>, mut origin: Origin) {
        let Some(caller) = origin.take_caller() else {
            return self.slots.give_back(ticket);
        };
        self.last_id += 1;
        let command = Command {
            id: self.last_id,
            pid: 0,
            link: origin.link(),
            caller: Some(caller),
            start: None,
            terminal: None,
            ticket,
            ends_with_caller: spawn.flags & flags::KILL_ON_HANGUP != 0,
            ends_by_itself: spawn.flags & flags::ENDS_BY_ITSELF != 0,
            state: State::Running,
            end: None,
        };
        // What there is no place for is dropped, and its caller sees that.
        let Ok(key) = self.commands.insert(command) else {
            return self.slots.give_back(ticket);
        };
        let started = if origin.is_welcome {
            self.try_spawn(key, ticket, spawn, origin)
        } else {
            Err((Stage::Request, Errno::PERM))
        };
        if let Err((stage, error)) = started {
            self.slots.give_back(ticket);
            let command = self.commands.get(key);
            if let Some(caller) = command.and_then(|command| command.caller.take()) {
                caller.tell_failure(&mut self.wire, stage, error);
                if let Caller::Channel(channel) = caller {
                    self.give_up_relay(channel);
                }
            }
            self.commands.remove(key);
        }
    }

    fn try_spawn(
        &mut self,
        key: Key,
        ticket: Ticket,
        spawn: &Spawn<'static>,
        mut origin: Origin,
    ) -> Attempt<()> {
        let at = |stage| move |error| (stage, error);
        if let Transport::Link(_, message) = &origin.transport
            && message.lacks_fds
        {
            return Err((Stage::Descriptors, Errno::MFILE));
        }
        let mut streams = open_streams(spawn, &mut origin)?;
        let start = self.open_start(key, spawn.flags);
        let start = start.map_err(at(Stage::Descriptors))?;
        let (words, apart) = origin.take_words(spawn).map_err(at(Stage::Request))?;
        let slot = self.slots.slot(ticket);
        // SAFETY: the slot is this command's, and nobody else uses what is in it.
        let (mark, room) = unsafe { (&mut *slot.mark.get(), &mut *slot.pointers.get()) };
        *mark = Mark::new(&self.own.token, self.last_id);
        let words = lay_out(spawn, words, self.own.environment, mark, room);
        let words = words.map_err(at(Stage::Process))?;
        let plan = Plan {
            slot,
            agent: self.own.pid,
            streams: streams.theirs.each_ref().map(Fd::number),
            has_terminal: streams.terminal.is_some(),
            side_channel: streams.side_channel.as_ref().map(Fd::number),
            start: start.as_ref().map(|(_, theirs)| theirs.number()),
            mask: self.own.mask,
            mark: Rlimit {
                soft: mark::limit(&self.own.token, self.last_id),
                hard: self.own.most_locks,
            },
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
        self.slots.keep(ticket, apart, words.memory);
        if let Transport::Channel(channel, _) = origin.transport {
            let relay = streams.relay(channel).map_err(at(Stage::Descriptors))?;
            self.relay(relay).map_err(at(Stage::Descriptors))?;
        }
        self.begin(key, ticket, start, streams.terminal)
    }

    /// What ends when a command is its program, where its caller wants to know: our end, and
    /// that which the new process has until then.
    fn open_start(&self, key: Key, flags: u32) -> Result<Option<(Fd, Fd)>> {
        if flags & (flags::REPORT_START | flags::TERMINAL) == 0 {
            return Ok(None);
        }
        let ends = sys::pipe()?;
        self.watch(&ends.0, Topic::Start(key))?;
        Ok(Some(ends))
    }

    /// Makes the process.
    fn begin(
        &mut self,
        key: Key,
        ticket: Ticket,
        start: Option<(Fd, Fd)>,
        terminal: Option<Fd>,
    ) -> Attempt<()> {
        let at = |stage| move |error| (stage, error);
        if let Some(Caller::Socket(socket)) = self
            .commands
            .at(key)
            .and_then(|command| command.caller.as_ref())
        {
            let watched = self.watch(socket, Topic::Caller(key));
            watched.map_err(at(Stage::Descriptors))?;
        }
        let pid = self.clone_child(ticket).map_err(at(Stage::Process))?;
        if let Some(command) = self.commands.get(key) {
            command.pid = pid;
            command.start = start.map(|(start, _)| start);
            command.terminal = terminal;
        }
        Ok(())
    }

    fn clone_child(&self, ticket: Ticket) -> Result<i32> {
        use core::sync::atomic::Ordering;
        const CLONE_VM: usize = 0x100;
        const CLONE_CHILD_CLEARTID: usize = 0x0020_0000;
        let slot = self.slots.slot(ticket);
        slot.alive.store(1, Ordering::Release);
        let flags = CLONE_VM | CLONE_CHILD_CLEARTID | sys::SIGCHLD as usize;
        // SAFETY: stack and plan are the slot's, which is left alone until `alive` is 0.
        let result = unsafe {
            let plan = slot.plan.get().cast::<Plan>();
            clone(flags, slot.stack_end(), slot.alive.as_ptr(), child, plan)
        };
        if result < 0 {
            slot.alive.store(0, Ordering::Release);
            return Err(Errno(-result as i32));
        }
        Ok(result as i32)
    }
}
