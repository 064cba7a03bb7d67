//! The file server: the other program that the agent is, started by an agent as a command.
//!
//! Its caller is at its standard input. It does what it is asked one thing after the other, and
//! takes away what its caller has left unfinished.

mod remove;
mod temporaries;

use core::ffi::CStr;
use core::mem::ManuallyDrop;

use crate::files_protocol::{
    Attributes, Entries, FILES_VERSION, FileReply, FileRequest, MAX_FILES_MESSAGE, MAX_PATH,
    Removal, Status, opening,
};
use crate::pages::Pages;
use crate::protocol::Sink;
use crate::socket;
use crate::sys::{self, At, EPOLLIN, Errno, Event, Fd, Interest, Result, Statx};
use crate::tree::next_entry;

use remove::{Force, remove_all};
use temporaries::Temporaries;

/// Signals that ask it to end.
const ENDING: [i32; 4] = [sys::SIGHUP, sys::SIGINT, sys::SIGQUIT, sys::SIGTERM];

/// What an event is.
const REQUEST: u64 = 0;
const END: u64 = 1;

pub(crate) struct Server {
    caller: ManuallyDrop<Fd>,
    /// What there is to do: a request, or to end.
    events: Fd,
    /// What is being answered.
    answer: Answer,
    temporaries: Temporaries,
}

/// Serves until nobody asks any more.
pub(crate) fn serve() -> ! {
    if let Ok(mut server) = Server::new() {
        server.serve();
        server.temporaries.remove();
        sys::exit(0)
    }
    sys::exit(crate::CANNOT_BEGIN)
}

impl Server {
    fn new() -> Result<Self> {
        let name = c"apptainer-files";
        // SAFETY: the option takes a text that ends in a NUL.
        unsafe { sys::prctl(sys::PR_SET_NAME, name.as_ptr() as usize) }?;
        // SAFETY: it is open, and never dropped.
        let caller = ManuallyDrop::new(unsafe { Fd::own(0) });
        sys::fcntl(&caller, sys::F_SETFL, 0)?;
        // What asks it to end is heard between two requests.
        sys::set_mask(u64::MAX);
        let asked = ENDING
            .iter()
            .fold(0, |mask, signal| mask | 1 << (signal - 1));
        // It is there as long as the process.
        let signals = ManuallyDrop::new(sys::signal_fd(asked)?);
        let events = sys::epoll_create()?;
        sys::epoll_watch(&events, Interest::Add, &caller, EPOLLIN, REQUEST)?;
        sys::epoll_watch(&events, Interest::Add, &signals, EPOLLIN, END)?;
        Ok(Self {
            caller,
            events,
            answer: Answer::new()?,
            temporaries: Temporaries::new()?,
        })
    }

    /// Waits until there is a request; fails where it is to end.
    fn wait(&self) -> Result<()> {
        let mut found = [Event { events: 0, data: 0 }; 2];
        loop {
            match sys::epoll_wait(&self.events, &mut found, -1) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(count) if found[..count].iter().any(|event| event.data == END) => {
                    return Err(Errno::INTR);
                }
                waited => return waited.map(drop),
            }
        }
    }

    /// Until its caller has gone, cannot be talked to, or somebody wants it to end.
    fn serve(&mut self) {
        let version = FILES_VERSION;
        let Ok(mut room) = Pages::new(MAX_FILES_MESSAGE) else {
            return;
        };
        let mut said = self.say(&FileReply::Ready { version }, None);
        while said.is_ok() && self.wait().is_ok() {
            let message = match socket::wait_for(&self.caller, room.bytes_mut()) {
                Ok(message) if message.length > 0 => message,
                Err(Errno::INTR) => continue,
                _ => return,
            };
            let request = FileRequest::decode(&room.bytes()[..message.length]);
            said = match request {
                Ok(request) if !message.is_cut => self.answer(&request),
                _ => self.say(&FileReply::Failed(Errno::INVAL.0), None),
            };
        }
    }

    /// Does what is asked, and says what came of it. Fails where nobody listens.
    fn answer(&mut self, request: &FileRequest<'_>) -> Result<()> {
        match *request {
            FileRequest::Open { flags, mode, path } => match self.open(flags, mode, path) {
                Ok((fd, status)) => self.say(&FileReply::Opened(status), Some(&fd)),
                Err(Errno(error)) => self.say(&FileReply::Failed(error), None),
            },
            FileRequest::Status { follows, path } => match sys::status(path, follows) {
                Ok(status) => self.say(&FileReply::Found(status.into()), None),
                Err(Errno(error)) => self.say(&FileReply::Failed(error), None),
            },
            FileRequest::ReadLink(path) => {
                let mut buffer = [0; MAX_PATH];
                match sys::read_link(path, &mut buffer) {
                    Ok(target) => self.say(&FileReply::Link(target), None),
                    Err(Errno(error)) => self.say(&FileReply::Failed(error), None),
                }
            }
            FileRequest::List(path) => match sys::open(path, sys::O_RDONLY | sys::O_DIRECTORY) {
                Ok(directory) => self.list(&directory),
                Err(Errno(error)) => self.say(&FileReply::Failed(error), None),
            },
            ref request => match self.change(request) {
                Ok(()) => self.say(&FileReply::Done, None),
                Err(Errno(error)) => self.say(&FileReply::Failed(error), None),
            },
        }
    }

    fn say(&mut self, reply: &FileReply<'_>, fd: Option<&Fd>) -> Result<()> {
        self.answer.length = 0;
        reply.encode(&mut self.answer);
        loop {
            let bytes = &mut self.answer.room.bytes_mut()[..self.answer.length];
            match socket::deliver(&self.caller, bytes, fd) {
                Err(Errno::INTR) => {}
                said => return said,
            }
        }
    }

    fn open(&mut self, flags: u32, mode: u32, path: &CStr) -> Result<(Fd, Status)> {
        let has = |flag| flags & flag != 0;
        // A pipe that nobody is at the other end of would keep everybody waiting.
        let mut with = sys::O_NONBLOCK | sys::O_NOCTTY;
        with |= match (has(opening::READ), has(opening::WRITE)) {
            (true, true) => sys::O_RDWR,
            (false, true) => sys::O_WRONLY,
            _ => sys::O_RDONLY,
        };
        for (flag, value) in [
            (opening::CREATE, sys::O_CREAT),
            (opening::EXCLUSIVE, sys::O_EXCL),
            (opening::TRUNCATE, sys::O_TRUNC),
            (opening::NO_FOLLOW, sys::O_NOFOLLOW),
        ] {
            if has(flag) {
                with |= value;
            }
        }
        let make = || {
            let fd = sys::open_with(path, with, mode)?;
            let status = sys::status_of(&fd)?;
            Ok((fd, status.into()))
        };
        if has(opening::TEMPORARY) {
            self.temporaries.make(path, make)
        } else {
            make()
        }
    }

    fn change(&mut self, request: &FileRequest<'_>) -> Result<()> {
        match *request {
            FileRequest::MakeDirectory {
                mode,
                is_temporary,
                path,
            } => {
                let make = || sys::make_directory(path, mode);
                if is_temporary {
                    return self.temporaries.make(path, make);
                }
                make()
            }
            FileRequest::MakeLink {
                is_temporary,
                target,
                path,
            } => {
                let make = || sys::make_link(target, path);
                if is_temporary {
                    return self.temporaries.make(path, make);
                }
                make()
            }
            FileRequest::Remove(removal, path) => {
                match removal {
                    Removal::File => sys::remove_file(At::Here, path),
                    Removal::Directory => sys::remove_directory(At::Here, path),
                    Removal::All => remove_all(path, Force::No),
                }?;
                self.temporaries.forget(path);
                Ok(())
            }
            FileRequest::Rename {
                replaces,
                syncs,
                attributes,
                from,
                to,
            } => {
                set(from, attributes, true)?;
                rename(from, to, replaces)?;
                self.temporaries.forget(from);
                if syncs { sync_parent(to) } else { Ok(()) }
            }
            FileRequest::Set {
                follows,
                attributes,
                path,
            } => set(path, attributes, follows),
            // The others have answers of their own.
            _ => Err(Errno::INVAL),
        }
    }

    /// Says what is in a directory, in as many messages as it takes.
    fn list(&mut self, directory: &Fd) -> Result<()> {
        // What it holds takes less room in a message.
        let mut buffer = [0; MAX_FILES_MESSAGE / 2];
        loop {
            let length = match sys::entries(directory, &mut buffer) {
                Ok(0) => return self.say(&FileReply::Done, None),
                Ok(length) => length,
                Err(Errno(error)) => return self.say(&FileReply::Failed(error), None),
            };
            let mut found = Answer::new()?;
            let mut left = &buffer[..length];
            while let Some((entry, rest)) = next_entry(left) {
                left = rest;
                if matches!(entry.name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let kind = match entry.kind {
                    // The file system does not say.
                    0 => sys::status_at(directory, entry.name).map_or(0, |status| {
                        // The kinds are numbered as in a mode.
                        (status.mode >> 12) as u8
                    }),
                    kind => kind,
                };
                Entries::put(&mut found, kind, entry.name.to_bytes());
            }
            let bytes = &found.room.bytes()[..found.length];
            let entries = Entries::new(bytes).map_err(|_| Errno::INVAL)?;
            self.say(&FileReply::Entries(entries), None)?;
        }
    }
}

/// Gives another name to a file; where it is not to replace anything and the file system does not
/// know how, nothing is replaced that is seen.
fn rename(from: &CStr, to: &CStr, replaces: bool) -> Result<()> {
    match sys::rename(from, to, replaces) {
        Err(error) if !replaces && error.is_unknown() => match sys::status(to, false) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => sys::rename(from, to, true),
            Err(error) => Err(error),
        },
        renamed => renamed,
    }
}

fn set(path: &CStr, attributes: Attributes, follows: bool) -> Result<()> {
    if let Some(mode) = attributes.mode {
        sys::set_mode(At::Here, path, mode)?;
    }
    if let Some(modified) = attributes.modified {
        sys::set_modified(path, modified, follows)?;
    }
    Ok(())
}

/// Waits until a name is on disk.
fn sync_parent(path: &CStr) -> Result<()> {
    let bytes = path.to_bytes();
    let mut parent = [0; MAX_PATH];
    match bytes.iter().rposition(|byte| *byte == b'/') {
        None => parent[0] = b'.',
        Some(0) => parent[0] = b'/',
        Some(end) => parent[..end].copy_from_slice(&bytes[..end]),
    }
    let parent = CStr::from_bytes_until_nul(&parent).map_err(|_| Errno::NAMETOOLONG)?;
    let directory = sys::open(parent, sys::O_RDONLY | sys::O_DIRECTORY)?;
    match sys::sync(&directory) {
        // The file system has no need of it.
        Err(error) if error.is_unknown() => Ok(()),
        synced => synced,
    }
}

impl From<Statx> for Status {
    fn from(status: Statx) -> Self {
        Self {
            mode: u32::from(status.mode),
            size: status.size,
            uid: status.uid,
            gid: status.gid,
            links: status.links,
            device: u64::from(status.device[0]) << 32 | u64::from(status.device[1]),
            inode: status.inode,
            modified: (status.modified, status.modified_nanoseconds),
        }
    }
}

/// A message as it is written.
struct Answer {
    room: Pages,
    length: usize,
}

impl Answer {
    fn new() -> Result<Self> {
        Ok(Self {
            room: Pages::new(MAX_FILES_MESSAGE)?,
            length: 0,
        })
    }
}

impl Sink for Answer {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        // No answer is longer.
        if let Some(room) = self.room.bytes_mut().get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        }
    }
}
