//! The agent: what it has, and what it does when something happens.

use crate::protocol::{
    Hello, Listed, Orphans, Reply, Request, Scope, Stage, VERSION, Welcome,
};
use crate::slot::Slots;
use crate::socket::{self, Message};
use crate::sys::{self, EPOLLIN, Errno, Event, Fd, Interest, Result, Rlimit};
use crate::table::{Command, GENERATION_BITS, Key, Selected, State, Table};
use crate::tree::{Everything, Tree};

/// How many callers may be connected at a time.
const LINKS: usize = 64;

/// How many requests of one link are taken in a turn.
const REQUESTS: usize = 16;

/// How long something killed may take to be gone, in milliseconds. What waits for a
/// file system that does not answer may take for ever.
const PATIENCE: u64 = 4000;

/// For so long it is expected any moment, in milliseconds, and asked for often; after
/// that with pauses.
const SOON: u64 = 100;
const SELDOM: i32 = 50;

pub(crate) struct Agent {
    epoll: Fd,
    signals: Fd,
    listener: Option<Fd>,
    links: [Option<Link>; LINKS],
    pub(crate) commands: Table,
    pub(crate) slots: Slots,
    tree: Tree,
    pub(crate) own: Own,
    orphans: Orphans,
    /// Whether links wait for a slot.
    is_starved: bool,
    /// Whether there are commands to kill, or such as have been.
    has_doomed: bool,
    /// How long to wait before looking again whether these are gone, in milliseconds.
    pause: i32,
}

/// What the agent itself was started with, and is.
pub(crate) struct Own {
    pub(crate) pid: i32,
    pub(crate) environment: &'static [*const u8],
    pub(crate) mask: u64,
    pub(crate) descriptors: Rlimit,
    /// Marks what it starts.
    pub(crate) token: [u8; 16],
}

struct Link {
    socket: Fd,
    is_welcome: bool,
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
}

impl Topic {
    fn pack(self) -> u64 {
        let of = |kind: u64, key: Key| {
            kind << 56 | u64::from(key.generation) << 32 | u64::from(key.index)
        };
        match self {
            Self::Signals => 0,
            Self::Listener => 1 << 56,
            Self::Link(index) => 2 << 56 | index as u64,
            Self::Caller(key) => of(3, key),
            Self::Start(key) => of(4, key),
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
            _ => None,
        }
    }
}

impl Agent {
    pub(crate) fn new(own: Own, link: Fd, listener: Option<Fd>) -> Result<Self> {
        let mut agent = Self {
            epoll: sys::epoll_create()?,
            signals: sys::signal_fd(1 << (sys::SIGCHLD - 1))?,
            listener,
            links: [const { None }; LINKS],
            commands: Table::new()?,
            slots: Slots::new()?,
            tree: Tree::new()?,
            own,
            orphans: Orphans::Kill,
            is_starved: false,
            has_doomed: false,
            pause: 1,
        };
        agent.watch(&agent.signals, Topic::Signals)?;
        if let Some(listener) = &agent.listener {
            agent.watch(listener, Topic::Listener)?;
        }
        agent.connect(link)?;
        Ok(agent)
    }

    pub(crate) fn watch(&self, fd: &Fd, topic: Topic) -> Result<()> {
        sys::epoll_watch(&self.epoll, Interest::Add, fd, EPOLLIN, topic.pack())
    }

    /// Does what comes up, until there is nobody to do it for.
    pub(crate) fn serve(&mut self) -> ! {
        let mut events = [Event { events: 0, data: 0 }; 64];
        loop {
            // Something is asked again and again while it is awaited.
            let timeout = match (self.is_starved, self.has_doomed) {
                (true, _) => 1,
                (false, true) => self.pause,
                (false, false) => -1,
            };
            let count = sys::epoll_wait(&self.epoll, &mut events, timeout).unwrap_or(0);
            if self.is_starved {
                self.resume_links();
            }
            for event in &events[..count] {
                match Topic::unpack(event.data) {
                    Some(Topic::Signals) => self.reap(),
                    Some(Topic::Listener) => self.accept(),
                    Some(Topic::Link(index)) => self.hear_link(index),
                    Some(Topic::Caller(key)) => self.hear_caller(key),
                    Some(Topic::Start(key)) => self.note_start(key),
                    None => {}
                }
            }
            if self.has_doomed {
                self.kill_doomed();
            }
            if self.orphans == Orphans::Kill && self.links.iter().all(Option::is_none) {
                self.end();
            }
        }
    }

    fn connect(&mut self, socket: Fd) -> Result<()> {
        let index = self.links.iter().position(Option::is_none);
        let index = index.ok_or(Errno::MFILE)?;
        self.watch(&socket, Topic::Link(index))?;
        self.links[index] = Some(Link {
            socket,
            is_welcome: false,
        });
        Ok(())
    }

    /// Lets in who has the same user.
    fn accept(&mut self) {
        let Some(Ok(socket)) = self.listener.as_ref().map(sys::accept) else {
            return;
        };
        if sys::peer_user(&socket) == Ok(sys::user()) {
            // Dropped, it is closed, which tells the caller.
            let _ = self.connect(socket);
        }
    }

    fn hear_link(&mut self, index: usize) {
        for _ in 0..REQUESTS {
            let Some(ticket) = self.slots.take() else {
                self.pause_links();
                return;
            };
            let Some(link) = &self.links[index] else {
                self.slots.give_back(ticket);
                return;
            };
            let slot = self.slots.slot(ticket);
            // SAFETY: the slot has just been taken, so that nobody else uses its buffer,
            // and what refers to that is gone before it is given back.
            let buffer: &'static mut [u8] = unsafe { &mut *slot.message.get() };
            let mut message = match socket::receive(&link.socket, buffer) {
                Ok(message) => message,
                Err(error) => {
                    self.slots.give_back(ticket);
                    if error != Errno::AGAIN && error != Errno::INTR {
                        self.disconnect(index);
                    }
                    return;
                }
            };
            if message.length == 0 {
                self.slots.give_back(ticket);
                self.disconnect(index);
                return;
            }
            let request = Request::decode(&buffer[..message.length]);
            match request {
                Ok(Request::Spawn(spawn)) if !message.is_cut => {
                    self.spawn(index, ticket, &spawn, message);
                }
                Ok(request) if !message.is_cut => {
                    self.slots.give_back(ticket);
                    self.answer(index, request, &mut message);
                }
                _ => {
                    self.slots.give_back(ticket);
                    self.refuse(&mut message);
                }
            }
        }
    }

    /// Answers what is no request, where it says to whom.
    fn refuse(&self, message: &mut Message) {
        if let Some(caller) = message.take_fd() {
            let (stage, error) = (Stage::Request, Errno::INVAL.0);
            let _ = socket::send(&caller, Reply::Failed { stage, error }, None);
        }
    }

    fn answer(&mut self, index: usize, request: Request<'_>, message: &mut Message) {
        let reply = match request {
            Request::Hello(hello) => self.welcome(index, hello),
            Request::Ping(number) => Reply::Pong(number),
            Request::List(after) => self.list(after),
            Request::Goodbye => {
                self.kill_everything();
                if let Some(link) = &self.links[index] {
                    let _ = socket::send(&link.socket, Reply::Farewell, None);
                }
                sys::exit(0)
            }
            Request::Attach(id) => return self.attach(id, message),
            // The others are said to a command, or have been seen to.
            _ => return self.refuse(message),
        };
        if let Some(link) = &self.links[index] {
            let _ = socket::send(&link.socket, reply, None);
        }
    }

    fn welcome(&mut self, index: usize, hello: Hello) -> Reply {
        if !(hello.oldest..=hello.newest).contains(&VERSION) {
            return Reply::Refused {
                oldest: VERSION,
                newest: VERSION,
            };
        }
        // The first caller decides: the others have come because it is as it is.
        if self.own.token == [0; 16] {
            self.own.token = hello.token;
            self.orphans = hello.orphans;
        }
        if let Some(link) = &mut self.links[index] {
            link.is_welcome = true;
        }
        Reply::Welcome(Welcome {
            version: VERSION,
            pid: self.own.pid.unsigned_abs(),
            token: self.own.token,
        })
    }

    /// Whether a link's caller has said who it is.
    pub(crate) fn is_welcome(&self, link: usize) -> bool {
        self.links[link].as_ref().is_some_and(|link| link.is_welcome)
    }

    /// The command with the next number above this one.
    fn list(&self, after: u64) -> Reply {
        let later = self.commands.iter().filter(|command| command.id > after);
        let next = later.min_by_key(|command| command.id);
        Reply::Listed(next.map(|command| Listed {
            id: command.id,
            pid: command.pid.unsigned_abs(),
            end: command.end.map(|(end, _)| end),
        }))
    }

    /// Has a command talk to another caller from now on.
    fn attach(&mut self, id: u64, message: &mut Message) {
        let Some(caller) = message.take_fd() else {
            return;
        };
        let key = self.commands.find(|command| command.id == id);
        let Some((key, pid)) = key.and_then(|key| Some((key, self.commands.get(key)?.pid))) else {
            let (stage, error) = (Stage::Attach, Errno::SRCH.0);
            let _ = socket::send(&caller, Reply::Failed { stage, error }, None);
            return;
        };
        let pid = pid.unsigned_abs();
        let _ = socket::send(&caller, Reply::Started { id, pid }, None);
        if self.watch(&caller, Topic::Caller(key)).is_ok()
            && let Some(command) = self.commands.get(key)
        {
            command.caller = Some(caller);
            command.ends_with_caller = false;
            if command.state == State::Ended {
                self.tell_end(key);
            }
        }
    }

    fn disconnect(&mut self, index: usize) {
        self.links[index] = None;
        if self.orphans == Orphans::Kill {
            let of_it = self.commands.iter_mut();
            for command in of_it.filter(|command| command.link == index) {
                command.doom();
                self.has_doomed = true;
            }
        }
    }

    /// Stops listening to links until there is a slot again.
    fn pause_links(&mut self) {
        self.is_starved = true;
        self.set_interest(0);
    }

    fn resume_links(&mut self) {
        if let Some(ticket) = self.slots.take() {
            self.slots.give_back(ticket);
            self.is_starved = false;
            self.set_interest(EPOLLIN);
        }
    }

    fn set_interest(&self, events: u32) {
        for (index, link) in self.links.iter().enumerate() {
            if let Some(Link { socket, .. }) = link {
                let data = Topic::Link(index).pack();
                let _ = sys::epoll_watch(&self.epoll, Interest::Change, socket, events, data);
            }
        }
    }

    fn hear_caller(&mut self, key: Key) {
        let mut buffer = [0; 64];
        loop {
            let Some(command) = self.commands.get(key) else {
                return;
            };
            let Some(caller) = &command.caller else {
                return;
            };
            let length = match socket::receive(caller, &mut buffer) {
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(message) => message.length,
                Err(_) => 0,
            };
            if length == 0 {
                let is_doomed = command.ends_with_caller;
                self.hang_up(key, is_doomed);
                return;
            }
            match Request::decode(&buffer[..length]) {
                Ok(Request::Signal(number, scope)) => self.signal(key, number.into(), scope),
                Ok(Request::Terminate) => {
                    if command.state == State::Running {
                        command.state = State::Ending;
                    }
                    self.signal(key, sys::SIGTERM, Scope::Tree);
                }
                Ok(Request::Kill) => {
                    command.doom();
                    self.has_doomed = true;
                }
                Ok(Request::Release) => {
                    self.hang_up(key, false);
                    return;
                }
                // Nothing else is said here; whoever says it gets no answer.
                _ => {}
            }
        }
    }

    /// A command's caller is gone.
    fn hang_up(&mut self, key: Key, is_doomed: bool) {
        let keeps = self.orphans == Orphans::Keep;
        let Some(command) = self.commands.get(key) else {
            return;
        };
        command.caller = None;
        if is_doomed {
            command.doom();
            self.has_doomed = true;
        } else if command.state == State::Ended && !keeps {
            self.commands.remove(key);
        }
    }

    fn signal(&mut self, key: Key, signal: i32, scope: Scope) {
        let Some(command) = self.commands.get(key) else {
            return;
        };
        let (id, pid) = (command.id, command.pid);
        // Reaped, its pid may be another process's.
        if pid == 0 {
            return;
        }
        let _ = match scope {
            Scope::Process => sys::kill(pid, signal),
            Scope::Group => sys::kill(-pid, signal),
            Scope::Tree => {
                let selected = Selected {
                    table: &self.commands,
                    wanted: |command: &Command| command.id == id,
                };
                self.tree.signal(&selected, &self.own.token, signal);
                Ok(())
            }
        };
    }

    /// The program runs, or could not be run.
    fn note_start(&mut self, key: Key) {
        let Some(command) = self.commands.get(key) else {
            return;
        };
        if command.start.take().is_none() {
            return;
        }
        let (id, pid) = (command.id, command.pid);
        // What could not be started is told when it is reaped.
        if self.slots.failure(command.ticket).is_some() {
            return;
        }
        let pid = pid.unsigned_abs();
        let terminal = command.terminal.take();
        if let Some(caller) = &command.caller {
            let _ = socket::send(caller, Reply::Started { id, pid }, terminal.as_ref());
        }
    }

    /// Waits for all that has ended, orphans too.
    fn reap(&mut self) {
        // At most one is pending, however many children it is for.
        let mut buffer = [0; 128];
        let _ = sys::read(&self.signals, &mut buffer);
        while let Ok((pid @ 1.., status, usage)) = sys::reap() {
            let Some(key) = self.commands.find(|command| command.pid == pid) else {
                continue;
            };
            self.note_start(key);
            let Some(command) = self.commands.get(key) else {
                continue;
            };
            command.pid = 0;
            command.end = Some(crate::status::decode(status, &usage));
            match command.state {
                State::Running => {
                    command.state = State::Ended;
                    self.tell_end(key);
                }
                State::Ending => {
                    command.doom();
                    self.has_doomed = true;
                }
                State::Doomed | State::Dying(_) | State::Ended => {}
            }
        }
    }

    /// Tells a caller how its command ended, or that it never ran.
    fn tell_end(&mut self, key: Key) {
        let keeps = self.orphans == Orphans::Keep;
        let Some(command) = self.commands.get(key) else {
            return;
        };
        let failure = self.slots.failure(command.ticket);
        self.slots.give_back(command.ticket);
        let Some((end, usage)) = command.end else {
            return;
        };
        let reply = match failure {
            Some((stage, Errno(error))) => Reply::Failed { stage, error },
            None => Reply::Exited { end, usage },
        };
        let sent = command.caller.as_ref().map(|caller| socket::send(caller, reply, None));
        let is_known = matches!(sent, Some(Ok(()))) || failure.is_some();
        if is_known || !keeps {
            self.commands.remove(key);
        }
    }

    /// Kills what is to be killed, and tells of what is gone.
    fn kill_doomed(&mut self) {
        let now = sys::now();
        let selected = Selected {
            table: &self.commands,
            wanted: |command: &Command| matches!(command.state, State::Doomed | State::Dying(_)),
        };
        self.tree.kill(&selected, &self.own.token);
        self.tree.read(&selected, &self.own.token);
        self.has_doomed = false;
        self.pause = SELDOM;
        let mut next = 0;
        while let Some(key) = self.commands.keys_from(next, |command| {
            matches!(command.state, State::Doomed | State::Dying(_))
        }) {
            next = key.index + 1;
            let Some(command) = self.commands.get(key) else {
                continue;
            };
            let since = match command.state {
                State::Dying(since) => since,
                _ => now,
            };
            command.state = State::Dying(since);
            let is_gone = command.pid == 0 && !self.tree.has_any(command.id);
            if is_gone || (command.pid == 0 && now - since > PATIENCE) {
                command.state = State::Ended;
                self.tell_end(key);
            } else {
                self.has_doomed = true;
                if now - since < SOON {
                    self.pause = 1;
                }
            }
        }
    }

    /// Kills all that was ever started, and waits for it.
    fn kill_everything(&mut self) {
        let since = sys::now();
        loop {
            self.tree.kill(&Everything, &self.own.token);
            let _ = sys::epoll_wait(&self.epoll, &mut [Event { events: 0, data: 0 }; 1], 1);
            while matches!(sys::reap(), Ok((1.., _, _))) {}
            self.tree.read(&Everything, &self.own.token);
            if self.tree.is_empty() || sys::now() - since > PATIENCE {
                return;
            }
        }
    }

    fn end(&mut self) -> ! {
        self.kill_everything();
        sys::exit(0)
    }
}
