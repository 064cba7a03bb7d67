//! Links: connections over which commands are asked for.

use crate::agent::{Agent, Topic};
use crate::caller::Caller;
use crate::protocol::{Hello, Listed, Orphans, Reply, Request, Stage, VERSION, Welcome};
use crate::socket::{self, Message};
use crate::spawn::Origin;
use crate::sys::{self, EPOLLIN, Errno, Fd, Interest, Result};

/// How many callers may be connected at a time.
pub(crate) const LINKS: usize = 64;

/// How many requests of one link are taken in a turn.
const REQUESTS: usize = 16;

pub(crate) struct Link {
    socket: Fd,
    is_welcome: bool,
}

impl Agent {
    pub(crate) fn connect(&mut self, socket: Fd) -> Result<()> {
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
    pub(crate) fn accept(&mut self) {
        let Some(Ok(socket)) = self.listener.as_ref().map(sys::accept) else {
            return;
        };
        if sys::peer_user(&socket) == Ok(sys::user()) {
            // Dropped, it is closed, which tells the caller.
            let _ = self.connect(socket);
        }
    }

    pub(crate) fn hear_link(&mut self, index: usize) {
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
            self.spare = sys::duplicate(&self.epoll).ok();
            let mut message = match received {
                Ok(message) if message.length > 0 => message,
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
        self.links[index] = None;
        if self.orphans == Orphans::Kill {
            for command in self.commands.iter_mut() {
                if command.link == Some(index) {
                    command.doom();
                    self.has_doomed = true;
                }
            }
        }
    }

    /// Takes no more requests until there is a slot again.
    pub(crate) fn pause(&mut self) {
        self.is_starved = true;
        self.listen_to_links(0);
    }

    pub(crate) fn resume(&mut self) {
        let Some(ticket) = self.slots.take() else {
            return;
        };
        self.slots.give_back(ticket);
        if self.catch_up() {
            self.is_starved = false;
            self.listen_to_links(EPOLLIN);
        }
    }

    fn listen_to_links(&self, events: u32) {
        let links = self.links.iter().enumerate();
        for (index, link) in links {
            if let Some(Link { socket, .. }) = link {
                let _ = self.rewatch(socket, Topic::Link(index), events);
            }
        }
        if let Some(wire) = &self.wire {
            let _ = self.rewatch(wire.input(), Topic::Input, events);
        }
    }

    fn rewatch(&self, fd: &Fd, topic: Topic, events: u32) -> Result<()> {
        sys::epoll_watch(&self.epoll, Interest::Change, fd, events, topic.pack())
    }
}
