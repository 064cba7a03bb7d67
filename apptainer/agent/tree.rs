//! All that commands started, found in `/proc`.
//!
//! A process is a command's when it is in the command's session, or below a process
//! that is, or when it has lost its parent and still bears the command's mark. As the
//! agent takes in the orphans of all that it starts, nothing else can come of a command.

use core::cell::Cell;
use core::ffi::CStr;

use crate::mark;
use crate::pages::List;
use crate::sys::{self, Errno, Fd, Result};

/// Which commands are of interest.
pub(crate) trait Commands {
    /// Whose a session is, by the process that leads it.
    fn of_session(&self, leader: i32) -> Session;
    /// Whose an orphan is, given a way to learn whose mark it bears.
    fn of_orphan(&self, marked: impl FnOnce() -> Option<u64>) -> Option<u64>;
}

/// Whose a session is.
pub(crate) enum Session {
    /// A command's that is of interest.
    Wanted(u64),
    /// Another command's.
    Unwanted,
    /// One that something has made for itself.
    Unknown,
}

/// Everything that the agent ever started.
pub(crate) struct Everything;

#[derive(Clone, Copy)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    state: u8,
    /// The command that it comes from, if that is of interest.
    owner: Option<u64>,
}

impl Process {
    /// Whether it comes from a command that is of interest, and has not ended.
    fn is_owned(&self) -> bool {
        self.owner.is_some() && !matches!(self.state, b'Z' | b'X')
    }
}

/// The table of processes, as it was when it was last read.
pub(crate) struct Tree {
    proc: Fd,
    agent: i32,
    /// The group that the agent itself is in.
    group: i32,
    found: List<Process>,
    /// Whether nothing was seen to end while it was read. What such a process had started by then
    /// may be missing.
    is_certain: Cell<bool>,
    /// Whom a signal to halt has been sent, in the order of their pids.
    halted: List<i32>,
}

impl Tree {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            proc: sys::open(c"/proc", sys::O_RDONLY | sys::O_DIRECTORY)?,
            agent: sys::pid(),
            group: sys::group()?,
            found: List::new()?,
            is_certain: Cell::new(true),
            halted: List::new()?,
        })
    }

    /// Sends a signal to all processes of these commands.
    pub(crate) fn signal(&mut self, of: &impl Commands, token: &[u8; 16], signal: i32) {
        self.read(of, token);
        for process in self.owned() {
            let _ = sys::kill(process.pid, signal);
        }
    }

    /// Kills all processes of these commands.
    ///
    /// They are halted first, until nothing new appears, so that nothing gets away by
    /// forking: what a signal waits for forks no more. Some never halt, as those that wait for
    /// a file system that does not answer.
    pub(crate) fn kill(&mut self, of: &impl Commands, token: &[u8; 16]) {
        // Only what forks faster than the table is read takes more than a few.
        const ROUNDS: usize = 64;
        // Where others come and go all the time, nothing is ever certain.
        const UNCERTAIN: usize = 4;
        self.halted.clear();
        for round in 0..ROUNDS {
            self.find(of, token, true);
            let is_new = |process: &Process| self.halted.binary_search(&process.pid).is_err();
            if !self.owned().any(is_new) && (self.is_certain.get() || round >= UNCERTAIN) {
                break;
            }
            self.send(sys::SIGSTOP);
            self.note_halted();
        }
        self.send(sys::SIGKILL);
    }

    fn note_halted(&mut self) {
        self.halted.clear();
        for index in 0..self.found.len() {
            let process = self.found[index];
            // What there is no room for is halted once more.
            if process.is_owned() && self.halted.push(process.pid).is_err() {
                return;
            }
        }
    }

    /// Whether a process of this command was there when the table was last read.
    pub(crate) fn has_any(&self, id: u64) -> bool {
        self.owned().any(|process| process.owner == Some(id))
    }

    /// Whether there can have been no others.
    pub(crate) fn is_certain(&self) -> bool {
        self.is_certain.get()
    }

    /// Whether anything was.
    pub(crate) fn is_empty(&self) -> bool {
        self.owned().next().is_none()
    }

    fn owned(&self) -> impl Iterator<Item = &Process> {
        self.found.iter().filter(|process| process.is_owned())
    }

    /// To each, and to its group: what a group's member is just forking gets it too.
    fn send(&self, signal: i32) {
        let mut last_group = 0;
        for process in self.owned() {
            // A group lies within a session, and a session is one command's; but for the
            // agent's own, in which a command is until it has made itself one.
            let is_its_own = process.group > 1 && process.group != self.group;
            if process.group != last_group && is_its_own {
                last_group = process.group;
                let _ = sys::kill(-process.group, signal);
            }
            let _ = sys::kill(process.pid, signal);
        }
    }

    /// Reads the table, and finds out whose is what.
    pub(crate) fn read(&mut self, of: &impl Commands, token: &[u8; 16]) {
        self.find(of, token, false);
    }

    /// The same; where it is said so, what is found is halted at once, before it is gone and
    /// another is in its place.
    fn find(&mut self, of: &impl Commands, token: &[u8; 16], halts: bool) {
        self.found.clear();
        self.is_certain.set(true);
        // What cannot be read is what does not fit into memory.
        let _ = self.read_table(of, token, halts);
        self.inherit();
    }

    /// Whose a process is by itself.
    fn owner(&self, process: &Process, of: &impl Commands, token: &[u8; 16]) -> Option<u64> {
        match of.of_session(process.session) {
            Session::Wanted(id) => Some(id),
            Session::Unknown if process.parent == self.agent => {
                of.of_orphan(|| self.marked(process, token))
            }
            Session::Unwanted | Session::Unknown => None,
        }
    }

    fn marked(&self, process: &Process, token: &[u8; 16]) -> Option<u64> {
        let found = self.find_mark(process.pid, token);
        // What had ended before has no children any more.
        let had_ended = matches!(process.state, b'Z' | b'X');
        if !had_ended && matches!(found, Err(Errno::SRCH | Errno::NOENT)) {
            self.is_certain.set(false);
        }
        found.ok().flatten()
    }

    fn find_mark(&self, pid: i32, token: &[u8; 16]) -> Result<Option<u64>> {
        let by_limit = match sys::limit_of(pid, sys::RLIMIT_LOCKS, None) {
            Err(Errno::SRCH) => return Err(Errno::SRCH),
            // Where that may not be asked, there still is the variable.
            locks => locks
                .ok()
                .and_then(|locks| mark::find_in_limit(token, locks.soft)),
        };
        if by_limit.is_some() {
            return Ok(by_limit);
        }
        let mut path = [0; 32];
        let environ = open_of(&self.proc, pid, b"/environ", &mut path)?;
        Ok(mark::find(token, &environ))
    }

    /// Gives children what their parents have. Parents mostly come first: the table is
    /// in the order of pids.
    fn inherit(&mut self) {
        loop {
            let mut is_settled = true;
            for index in 0..self.found.len() {
                let process = self.found[index];
                if process.owner.is_some() {
                    continue;
                }
                let parent = self
                    .found
                    .binary_search_by_key(&process.parent, |other| other.pid);
                let owner = parent.ok().and_then(|parent| self.found[parent].owner);
                if owner.is_some() {
                    self.found[index].owner = owner;
                    is_settled = false;
                }
            }
            if is_settled {
                return;
            }
        }
    }

    fn read_table(&mut self, of: &impl Commands, token: &[u8; 16], halts: bool) -> Result<()> {
        let mut buffer = [0; 8192];
        sys::rewind(&self.proc)?;
        loop {
            let length = sys::entries(&self.proc, &mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let mut left = &buffer[..length];
            while let Some((entry, rest)) = next_entry(left) {
                left = rest;
                let Some(pid) = number(entry.name.to_bytes()).filter(|pid| *pid != self.agent)
                else {
                    continue;
                };
                let Some(mut process) = self.read_one(pid) else {
                    self.is_certain.set(false);
                    continue;
                };
                process.owner = self.owner(&process, of, token);
                if halts && process.is_owned() {
                    let _ = sys::kill(pid, sys::SIGSTOP);
                }
                self.found.push(process)?;
            }
        }
    }

    fn read_one(&self, pid: i32) -> Option<Process> {
        let mut path = [0; 32];
        let stat = open_of(&self.proc, pid, b"/stat", &mut path).ok()?;
        let mut buffer = [0; 512];
        let length = sys::read(&stat, &mut buffer).ok()?;
        // The name stands in parentheses, and may hold any byte but NUL.
        let line = &buffer[..length];
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let mut fields = line[close + 1..].split(|byte| *byte == b' ').skip(1);
        Some(Process {
            pid,
            state: *fields.next()?.first()?,
            parent: number(fields.next()?)?,
            group: number(fields.next()?)?,
            session: number(fields.next()?)?,
            owner: None,
        })
    }
}

/// Opens a file of a process's.
fn open_of(proc: &Fd, pid: i32, file: &[u8], path: &mut [u8; 32]) -> Result<Fd> {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut left = pid.unsigned_abs();
    while left > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let digits = &digits[at..];
    path[..digits.len()].copy_from_slice(digits);
    path[digits.len()..digits.len() + file.len()].copy_from_slice(file);
    let path = CStr::from_bytes_until_nul(path).map_err(|_| Errno::NAMETOOLONG)?;
    sys::open_at(proc, path, sys::O_RDONLY)
}

/// What a directory holds: `struct linux_dirent64`.
pub(crate) struct Entry<'b> {
    /// Of `DT_*` in dirent.h; 0 where the file system does not say.
    pub(crate) kind: u8,
    pub(crate) name: &'b CStr,
}

/// The first of some entries, and the others.
pub(crate) fn next_entry(entries: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    const LENGTH: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    let length = entries.get(LENGTH..LENGTH + 2)?;
    let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
    let (entry, rest) = entries.split_at_checked(length)?;
    let name = CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?;
    let kind = *entry.get(KIND)?;
    Some((Entry { kind, name }, rest))
}

fn number(digits: &[u8]) -> Option<i32> {
    let (is_negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_i32, |number, digit| {
        let value = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(value as i32)
    })?;
    Some(if is_negative { -number } else { number })
}

impl Commands for Everything {
    fn of_session(&self, _: i32) -> Session {
        Session::Unknown
    }

    fn of_orphan(&self, _: impl FnOnce() -> Option<u64>) -> Option<u64> {
        Some(0)
    }
}
