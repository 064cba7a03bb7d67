//! Ends: of commands, by themselves or because they are killed, and of everything.

use crate::agent::Agent;
use crate::caller::Caller;
use crate::places::Key;
use crate::protocol::{Orphans, Reply};
use crate::sys::{self, Errno, Event};
use crate::table::{Command, Selected, State};
use crate::tree::Everything;

/// How long something killed may take to be gone, in milliseconds. What waits for a
/// file system that does not answer may take for ever.
const PATIENCE: u64 = 4000;

/// For so long it is expected any moment, in milliseconds.
const SOON: u64 = 100;

/// For so long it is looked for again though nothing was seen of it, where something else came
/// or went meanwhile, in milliseconds.
const UNCERTAIN: u64 = 20;

/// How many commands that have ended are remembered for whoever asks later.
const REMEMBERED: usize = 1024;

/// How long to leave alone what was killed so long ago, in milliseconds.
fn pause(since: u64) -> u64 {
    match since {
        ..SOON => 1,
        SOON..PATIENCE => 50,
        PATIENCE.. => 1000,
    }
}

impl Agent {
    /// A program runs, or could not be run.
    pub(crate) fn note_start(&mut self, key: Key) {
        let Some(command) = self.commands.get(key) else {
            return;
        };
        if command.start.take().is_none() {
            return;
        }
        // What could not be started is told when it is reaped.
        if self.slots.failure(command.ticket).is_some() {
            return;
        }
        let (id, pid) = (command.id, command.pid.unsigned_abs());
        let terminal = command.terminal.take();
        if let Some(caller) = &command.caller {
            caller.tell(
                &mut self.wire,
                Reply::Started { id, pid },
                terminal.as_ref(),
            );
        }
    }

    /// Passes signals on, and waits for what has ended.
    pub(crate) fn note_signals(&mut self) {
        // Of each at most one is pending, however often it was sent. What is read begins with its
        // number.
        let mut buffer = [0; 128];
        while sys::read(&self.signals, &mut buffer).is_ok() {
            let signal = i32::from(buffer[0]);
            if signal != sys::SIGCHLD {
                self.pass_on(signal);
            }
        }
        self.reap();
    }

    /// Sends a signal to the groups of all commands that outlive their callers.
    fn pass_on(&mut self, signal: i32) {
        for command in self.commands.iter() {
            if command.pid > 0 && !command.ends_with_caller {
                let _ = sys::kill(-command.pid, signal);
            }
        }
    }

    /// Waits for all that has ended, orphans too.
    fn reap(&mut self) {
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
                // It may have been the last of it.
                State::Dying(_) => self.has_doomed = true,
                State::Doomed | State::Ended => {}
            }
        }
    }

    /// Tells a caller how its command ended, or that it never ran.
    pub(crate) fn tell_end(&mut self, key: Key) {
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
        if let Some(caller) = &command.caller {
            if let (Some(wire), Caller::Channel(channel)) = (&mut self.wire, caller) {
                wire.note_end(*channel);
            }
            caller.tell(&mut self.wire, reply, None);
        }
        // Otherwise it is there until its caller has heard of it, or another one has.
        if failure.is_some() || self.orphans == Orphans::Kill {
            self.commands.remove(key);
        } else {
            self.forget_oldest();
        }
    }

    /// Remembers no more than so many.
    pub(crate) fn forget_oldest(&mut self) {
        let ended = |command: &&Command| command.state == State::Ended;
        if self.commands.iter().filter(ended).count() <= REMEMBERED {
            return;
        }
        let oldest = self.commands.iter().filter(ended).map(|command| command.id);
        if let Some(id) = oldest.min()
            && let Some(key) = self.commands.find(|command| command.id == id)
        {
            self.commands.remove(key);
        }
    }

    /// Kills what is to be killed, and what is left of what has been; tells of what is gone.
    pub(crate) fn kill_doomed(&mut self) {
        let now = sys::now();
        let is_doomed =
            |command: &Command| matches!(command.state, State::Doomed | State::Dying(_));
        let selected = Selected {
            table: &self.commands,
            wanted: is_doomed,
        };
        self.tree.kill(&selected, &self.own.token);
        self.tree.read(&selected, &self.own.token);
        self.has_doomed = false;
        self.next_look = None;
        let mut next = 0;
        while let Some(key) = self.commands.find_from(next, is_doomed) {
            next = key.index + 1;
            let Some(command) = self.commands.get(key) else {
                continue;
            };
            let since = match command.state {
                State::Dying(since) => since,
                _ => now,
            };
            command.state = State::Dying(since);
            let is_seen = self.tree.has_any(command.id);
            let is_sure = self.tree.is_certain() || now - since > UNCERTAIN;
            let is_gone = command.pid == 0 && !is_seen && is_sure;
            if is_gone || (command.pid == 0 && now - since > PATIENCE) {
                command.state = State::Ended;
                self.tell_end(key);
            } else {
                let look = now + pause(now - since);
                self.next_look = Some(self.next_look.map_or(look, |next| next.min(look)));
            }
        }
    }

    /// Whether something is about to end by itself, now that nobody is there any more.
    pub(crate) fn waits_for_ends(&mut self) -> bool {
        let mut commands = self.commands.iter();
        if !commands.any(|command| command.ends_by_itself && command.pid != 0) {
            return false;
        }
        let now = sys::now();
        *self.last_wait.get_or_insert(now + PATIENCE) > now
    }

    /// Asks what ends by itself to do so, and waits for it.
    fn ask_to_end(&mut self) {
        let asked = |command: &&Command| command.ends_by_itself && command.pid != 0;
        for command in self.commands.iter().filter(asked) {
            let _ = sys::kill(command.pid, sys::SIGTERM);
        }
        let since = sys::now();
        while self.commands.iter().any(|command| asked(&command)) && sys::now() - since < PATIENCE {
            let _ = sys::epoll_wait(&self.epoll, &mut [Event { events: 0, data: 0 }; 1], 1);
            self.reap();
        }
    }

    /// Kills all that was ever started, and waits for it.
    pub(crate) fn kill_everything(&mut self) {
        if self.last_wait.is_none() {
            self.ask_to_end();
        }
        let since = sys::now();
        loop {
            self.tree.kill(&Everything, &self.own.token);
            let _ = sys::epoll_wait(&self.epoll, &mut [Event { events: 0, data: 0 }; 1], 1);
            while matches!(sys::reap(), Ok((1.., _, _))) {}
            self.tree.read(&Everything, &self.own.token);
            let time = sys::now() - since;
            let is_sure = self.tree.is_certain() || time > UNCERTAIN;
            if self.tree.is_empty() && is_sure || time > PATIENCE {
                return;
            }
        }
    }
}
