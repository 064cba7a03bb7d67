//! Who holds a command, and what they say to it.

use crate::agent::{Agent, Topic};
use crate::link::SHORT;
use crate::places::Key;
use crate::protocol::{Orphans, Reply, Request, Scope, Stage};
use crate::socket;
use crate::sys::{self, Errno, Fd};
use crate::table::{Command, Selected, State};
use crate::wire::Wire;

/// How a command's caller is reached.
pub(crate) enum Caller {
    /// Over a socket of the command's own.
    Socket(Fd),
    /// By frames with this number.
    Channel(u32),
}

impl Caller {
    /// Tells it something, with a descriptor where that can be passed. One that is gone, or
    /// does not listen, is told nothing.
    pub(crate) fn tell(&self, wire: &mut Option<Wire>, reply: Reply, fd: Option<&Fd>) {
        let _ = match (self, wire) {
            (Self::Socket(socket), _) => socket::send(socket, reply, fd),
            (Self::Channel(channel), Some(wire)) => wire.say(*channel, reply),
            (Self::Channel(_), None) => Ok(()),
        };
    }

    pub(crate) fn tell_failure(&self, wire: &mut Option<Wire>, stage: Stage, error: Errno) {
        let Errno(error) = error;
        self.tell(wire, Reply::Failed { stage, error }, None);
    }
}

impl Agent {
    /// Hears what is said over a command's own socket.
    pub(crate) fn hear_caller(&mut self, key: Key) {
        let mut buffer = [0; SHORT];
        let mut has_heard = true;
        loop {
            let Some(Command {
                caller: Some(Caller::Socket(socket)),
                ..
            }) = self.commands.get(key)
            else {
                return;
            };
            let length = match socket::receive(socket, &mut buffer) {
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(message) if message.length > 0 => message.length,
                // It has left something unread. What it said before comes after this.
                Err(_) if has_heard => {
                    has_heard = false;
                    continue;
                }
                _ => return self.hang_up(key, has_heard),
            };
            // Nothing else is said here; whoever says it gets no answer.
            if let Ok(request) = Request::decode(&buffer[..length]) {
                self.obey(key, request);
            }
        }
    }

    /// Does what a command's caller asks of it.
    pub(crate) fn obey(&mut self, key: Key, request: Request<'_>) {
        let Some(command) = self.commands.get(key) else {
            return;
        };
        match request {
            Request::Signal(number, scope) => self.signal(key, number.into(), scope),
            Request::Terminate => {
                if command.state == State::Running {
                    command.state = State::Ending;
                }
                self.signal(key, sys::SIGTERM, Scope::Tree);
            }
            Request::Kill => {
                command.doom();
                self.has_doomed = true;
            }
            Request::Release => command.ends_with_caller = false,
            Request::Resize(rows, columns) => {
                let channel = match &command.caller {
                    Some(Caller::Channel(channel)) => *channel,
                    _ => return,
                };
                if let Some(wire) = &mut self.wire {
                    wire.resize(channel, rows, columns);
                }
            }
            _ => {}
        }
    }

    /// A command's caller is gone, and has heard all that it was told or not.
    pub(crate) fn hang_up(&mut self, key: Key, has_heard: bool) {
        let keeps = self.orphans == Orphans::Keep;
        let Some(command) = self.commands.get(key) else {
            return;
        };
        command.caller = None;
        if command.state == State::Ended {
            if keeps && !has_heard {
                self.forget_oldest();
            } else {
                self.commands.remove(key);
            }
        } else if command.ends_with_caller {
            command.doom();
            self.has_doomed = true;
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

    /// Has a command that nobody holds talk to this caller from now on.
    pub(crate) fn attach(&mut self, id: u64, socket: Fd) {
        let caller = Caller::Socket(socket);
        let key = self.commands.find(|command| command.id == id);
        if let Some(key) = key {
            // It may have been hung up on just now.
            self.hear_caller(key);
        }
        let command = key.and_then(|key| Some((key, self.commands.get(key)?)));
        let Some((key, command)) = command else {
            return caller.tell_failure(&mut self.wire, Stage::Attach, Errno::SRCH);
        };
        if command.caller.is_some() {
            return caller.tell_failure(&mut self.wire, Stage::Attach, Errno::BUSY);
        }
        let pid = command.pid.unsigned_abs();
        caller.tell(&mut self.wire, Reply::Started { id, pid }, None);
        let Caller::Socket(socket) = &caller else {
            return;
        };
        if self.watch(socket, Topic::Caller(key)).is_ok()
            && let Some(command) = self.commands.get(key)
        {
            command.caller = Some(caller);
            command.ends_with_caller = false;
            if command.state == State::Ended {
                self.tell_end(key);
            }
        }
    }
}
