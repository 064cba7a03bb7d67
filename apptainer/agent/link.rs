//! Links: connections over which commands are asked for.

use crate::agent::{Agent, Topic};
use crate::caller::Caller;
use crate::protocol::{Hello, Listed, Orphans, Reply, Request, Stage, VERSION, Welcome};
use crate::socket::{self, Message};
use crate::spawn::Origin;
use crate::sys::{self, EPOLLET, EPOLLHUP, EPOLLIN, Errno, Fd, Interest, Result};

/// How many callers may be connected at a time.
pub(crate) const LINKS: usize = 256;

/// All that is said is shorter, but for what asks for a command.
pub(crate) const SHORT: usize = 64;

/// How long to wait before accepting again what could not be, in milliseconds.
const PAUSE: u64 = 50;

/// How many requests of one link are taken in a turn.
const REQUESTS: usize = 16;

pub(crate) struct Link {
    socket: Fd,
    is_welcome: bool,
}

impl Agent {
    pub(crate) fn connect(&mut self, socket: Fd) -> Result<()> {
        let index = self.links.iter().position(Option::is_none);
        self.connect_as(index.ok_or(Errno::MFILE)?, socket)
    }

    fn connect_as(&mut self, index: usize, socket: Fd) -> Result<()> {
        let edge = if self.is_starved { EPOLLET } else { 0 };
        self.watch_for(&socket, Topic::Link(index), EPOLLIN | edge)?;
        self.links[index] = Some(Link {
            socket,
            is_welcome: false,
        });
        Ok(())
    }

    /// Lets in who has the same user.
    pub(crate) fn accept(&mut self) {
        self.next_accept = None;
        loop {
            self.keep_spare();
            let Some(listener) = &self.listener else {
                return;
            };
            let mut index = self.links.iter().position(Option::is_none);
            let mut accepted = sys::accept(listener);
            if accepted == Err(Errno::MFILE) {
                // Whom there is no room for is told so.
                self.spare = None;
                index = None;
                accepted = sys::accept(listener);
            }
            let socket = match accepted {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                // Nothing tells when that can be done.
                Err(_) => {
                    self.next_accept = Some(sys::now() + PAUSE);
                    return;
                }
            };
            if sys::peer_user(&socket) != Ok(sys::user()) {
                continue;
            }
            if let Some(index) = index {
                // Dropped, it is closed, which tells the caller.
                let _ = self.connect_as(index, socket);
            } else {
                let caller = Caller::Socket(socket);
                caller.tell_failure(&mut self.wire, Stage::Attach, Errno::MFILE);
            }
        }
    }

    fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = sys::duplicate(&self.epoll).ok();
        }
    }

    /// Something has come on a link, or it has ended.
    pub(crate) fn note_link(&mut self, index: usize, events: u32) {
        if !self.is_starved {
            self.hear_link(index);
        } else if events & EPOLLHUP != 0 && self.orphans == Orphans::Kill {
            // What it still asked for would be killed at once.
            self.disconnect(index);
        } else {
            self.hear_starved(index);
        }
    }

    /// Answers what takes no slot, until something comes that does.
    fn hear_starved(&mut self, index: usize) {
        let mut buffer = [0; SHORT];
        for _ in 0..REQUESTS {
            let Some(link) = &self.links[index] else {
                return;
            };
            let length = match socket::peek(&link.socket, &mut buffer) {
                Ok(length) => length,
                // It has left an answer unread. What it asked before comes after this.
                Err(Errno::CONNRESET) => continue,
                Err(_) => return,
            };
            match Request::decode(&buffer[..length]) {
                Ok(Request::Spawn(_)) | Err(_) => return,
                Ok(_) => {}
            }
            self.spare = None;
            let received = socket::receive(&link.socket, &mut buffer);
            self.keep_spare();
            let Ok(mut message) = received else {
                return;
            };
            if let Ok(request) = Request::decode(&buffer[..message.length]) {
                self.answer_link(index, request, &mut message);
            }
        }
        // There may be more, of which this tells anew.
        if let Some(link) = &self.links[index] {
            let topic = Topic::Link(index);
            let _ = self.rewatch(Interest::Change, &link.socket, topic, EPOLLIN | EPOLLET);
        }
    }

    fn hear_link(&mut self, index: usize) {
        let mut is_reset = false;
        for _ in 0..REQUESTS {
            let Some(ticket) = self.slots.take() else {
                return self.pause();
            };
            let Some(link) = &self.links[index] else {
                return self.slots.give_back(ticket);
            };
            let slot = self.slots.slot(ticket);
            // SAFETY: the slot has just been taken, so that nobody else uses its buffer,
            // and what refers to that is gone before it is given back.
            let buffer: &'static mut [u8] = unsafe { &mut *slot.message.get() };
            self.spare = None;
            let received = socket::receive(&link.socket, buffer);
            self.keep_spare();
            let mut message = match received {
                Ok(message) if message.length > 0 => message,
                // It has left an answer unread. What it asked before comes after this.
                Err(Errno::CONNRESET) if !is_reset => {
                    self.slots.give_back(ticket);
                    is_reset = true;
                    continue;
                }
                received => {
                    self.slots.give_back(ticket);
                    if !matches!(received, Err(Errno::AGAIN | Errno::INTR)) {
                        self.disconnect(index);
                    }
                    return;
                }
            };
            match Request::decode(&buffer[..message.length]) {
                Ok(Request::Spawn(spawn)) if !message.is_cut => {
                    let is_welcome = self.links[index]
                        .as_ref()
                        .is_some_and(|link| link.is_welcome);
                    self.spawn(ticket, &spawn, Origin::of_link(index, message, is_welcome));
                }
                Ok(request) if !message.is_cut => {
                    self.slots.give_back(ticket);
                    self.answer_link(index, request, &mut message);
                }
                _ => {
                    self.slots.give_back(ticket);
                    self.refuse(&mut message);
                }
            }
        }
    }

    /// Answers what is no request, where it says to whom.
    fn refuse(&mut self, message: &mut Message) {
        if let Some(socket) = message.take_fd() {
            let caller = Caller::Socket(socket);
            caller.tell_failure(&mut self.wire, Stage::Request, Errno::INVAL);
        }
    }

    fn answer_link(&mut self, index: usize, request: Request<'_>, message: &mut Message) {
        if let Request::Attach(id) = request {
            if let Some(socket) = message.take_fd() {
                self.attach(id, socket);
            }
            return;
        }
        let Some(reply) = self.answer(request) else {
            // It is said to a command, and not here.
            return self.refuse(message);
        };
        if let Some(link) = &mut self.links[index] {
            link.is_welcome |= matches!(reply, Reply::Welcome(_));
            let _ = socket::send(&link.socket, reply, None);
        }
        if reply == Reply::Farewell {
            sys::exit(0)
        }
    }

    /// The answer to what is said on a link, if it has one.
    pub(crate) fn answer(&mut self, request: Request<'_>) -> Option<Reply> {
        match request {
            Request::Hello(hello) => Some(self.welcome(hello)),
            Request::Ping(number) => Some(Reply::Pong(number)),
            Request::List(after) => Some(self.list(after)),
            Request::Goodbye => {
                self.kill_everything();
                Some(Reply::Farewell)
            }
            _ => None,
        }
    }

    fn welcome(&mut self, hello: Hello) -> Reply {
        if !(hello.oldest..=hello.newest).contains(&VERSION) {
            return Reply::Refused {
                oldest: VERSION,
                newest: VERSION,
            };
        }
        // The first caller decides: the others have come because it is as it is.
        if self.own.token == [0; 16] {
            self.own.token = hello.token;
            // Where nobody can call later, nothing is kept for them.
            if self.listener.is_some() {
                self.orphans = hello.orphans;
            }
        }
        Reply::Welcome(Welcome {
            version: VERSION,
            pid: self.own.pid.unsigned_abs(),
            token: self.own.token,
        })
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

    fn disconnect(&mut self, index: usize) {
        // Closing it is not enough: the `apptainer` that the agent runs in has the first one open.
        if let Some(link) = self.links[index].take() {
            let _ = self.rewatch(Interest::Delete, &link.socket, Topic::Link(index), 0);
        }
        if self.orphans == Orphans::Kill {
            for command in self.commands.iter_mut() {
                if command.link == Some(index) && !command.ends_by_itself {
                    command.doom();
                    self.has_doomed = true;
                }
            }
        }
    }

    /// Takes no more requests until there is a slot again, or room for answers.
    pub(crate) fn pause(&mut self) {
        if !self.is_starved {
            self.is_starved = true;
            // Of what is new it is told all the same, once.
            self.listen_to_callers(EPOLLIN | EPOLLET);
        }
    }

    pub(crate) fn resume(&mut self) {
        if self.wire.is_none() {
            let Some(ticket) = self.slots.take() else {
                return;
            };
            self.slots.give_back(ticket);
        }
        // Over a stream, what takes no slot goes on.
        if self.catch_up() {
            self.is_starved = false;
            self.listen_to_callers(EPOLLIN);
        }
    }

    fn listen_to_callers(&self, events: u32) {
        let links = self.links.iter().enumerate();
        for (index, link) in links {
            if let Some(Link { socket, .. }) = link {
                let _ = self.rewatch(Interest::Change, socket, Topic::Link(index), events);
            }
        }
        if let Some(wire) = &self.wire {
            let _ = self.rewatch(Interest::Change, wire.input(), Topic::Input, events);
        }
    }

    fn rewatch(&self, how: Interest, fd: &Fd, topic: Topic, events: u32) -> Result<()> {
        sys::epoll_watch(&self.epoll, how, fd, events, topic.pack())
    }
}
