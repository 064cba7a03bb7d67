//! A file server, and talking to it: one request after the other, without a runtime.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apptainer_sys::process::Seqpacket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::Shutdown;

use super::{Entry, FilesError, Kind, Location, Metadata};
use crate::exec::files_protocol::{
    Attributes, FILES_VERSION, FileReply, FileRequest, MAX_FILES_MESSAGE, MAX_PATH, Removal,
};

/// Our end of the connection to a server, which who waits for an answer shares with who calls
/// it off.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Seqpacket,
    is_called_off: AtomicBool,
}

impl Wire {
    pub(super) fn new(socket: Seqpacket) -> Arc<Self> {
        Arc::new(Self {
            socket,
            is_called_off: AtomicBool::new(false),
        })
    }

    /// Has the server take away what is not finished, and end.
    pub(super) fn call_off(&self) {
        self.is_called_off.store(true, Ordering::Release);
        // It is told that nothing comes any more; that it has ended is seen here.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    pub(super) fn is_called_off(&self) -> bool {
        self.is_called_off.load(Ordering::Acquire)
    }

    /// Whether the server has ended, or does within so many milliseconds.
    pub(super) fn has_ended(&self, patience: u16) -> bool {
        let mut waited = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let ended = poll(&mut waited, PollTimeout::from(patience));
        ended.is_ok_and(|count| count > 0)
    }

    /// Waits until a message can be sent, or received.
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let mut waited = [PollFd::new(self.socket.as_fd(), flags)];
        match poll(&mut waited, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => Ok(()),
            waited => Ok(waited.map(drop)?),
        }
    }
}

/// A path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote(CString);

impl Remote {
    pub(super) fn new(path: impl AsRef<Path>) -> Result<Self, FilesError> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.len() >= MAX_PATH {
            return Err(FilesError::Path { path: path.into() });
        }
        let text = CString::new(bytes).map_err(|_| FilesError::Path { path: path.into() })?;
        Ok(Self(text))
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.0.to_bytes()))
    }

    pub(super) fn join(&self, name: &OsStr) -> Result<Self, FilesError> {
        Self::new(self.path().join(name))
    }

    pub(super) fn parent(&self) -> Option<Self> {
        match self.path().parent() {
            Some(parent) if parent.as_os_str().is_empty() => Self::new(".").ok(),
            Some(parent) => Self::new(parent).ok(),
            None => None,
        }
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        &self.0
    }

    pub(super) fn at(&self) -> Location {
        Location::container(self.path())
    }
}

/// What a server has answered.
enum Answer {
    Ready(u16),
    Done,
    Opened(OwnedFd, Metadata),
    Found(Metadata),
    Link(PathBuf),
    Entries(Vec<Entry>),
}

/// One that talks to a server, which nobody else talks to meanwhile.
#[derive(Debug)]
pub(super) struct Session {
    wire: Arc<Wire>,
    message: Vec<u8>,
    answer: Box<[u8]>,
    /// Whether what comes next is what is expected.
    is_in_step: bool,
}

/// The talk with a server has ended.
#[derive(Debug)]
pub(super) struct Ended;

impl From<Ended> for FilesError {
    fn from(_: Ended) -> Self {
        Self::NotThere { source: None }
    }
}

type Asked<T> = Result<io::Result<T>, Ended>;

impl Session {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self {
            wire,
            message: Vec::with_capacity(256),
            answer: vec![0; MAX_FILES_MESSAGE].into(),
            is_in_step: true,
        }
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Whether it can be used again.
    pub(super) fn is_fit(&self) -> bool {
        self.is_in_step && !self.wire.is_called_off() && !self.wire.has_ended(0)
    }

    /// Fails where what is done has been called off.
    pub(super) fn go_on(&self) -> Result<(), FilesError> {
        if self.wire.is_called_off() {
            return Err(Ended.into());
        }
        Ok(())
    }

    /// Waits until the server is there; says whether it is one that can be talked to.
    pub(super) fn greet(&mut self) -> Result<bool, Ended> {
        match self.receive()? {
            Ok(Answer::Ready(version)) => Ok(version == FILES_VERSION),
            _ => Err(Ended),
        }
    }

    fn send(&mut self, request: &FileRequest<'_>) -> Result<(), Ended> {
        self.is_in_step = false;
        self.message.clear();
        request.encode(&mut self.message);
        loop {
            match self.wire.socket.send(&self.message, &[]) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wire.wait(PollFlags::POLLOUT).map_err(|_| Ended)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Ended),
            }
        }
    }

    fn receive(&mut self) -> Asked<Answer> {
        let packet = loop {
            match self.wire.socket.receive(&mut self.answer) {
                Ok(packet) if packet.length == 0 => return Err(Ended),
                Ok(packet) => break packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wire.wait(PollFlags::POLLIN).map_err(|_| Ended)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // There was no room here for the descriptor.
                Err(_) => return Ok(Err(nix::errno::Errno::EMFILE.into())),
            }
        };
        let mut fds = packet.fds.into_iter();
        let reply = FileReply::decode(&self.answer[..packet.length]).map_err(|_| Ended)?;
        self.is_in_step = !matches!(reply, FileReply::Entries(_));
        Ok(Ok(match reply {
            FileReply::Ready { version } => Answer::Ready(version),
            FileReply::Done => Answer::Done,
            FileReply::Failed(errno) => return Ok(Err(io::Error::from_raw_os_error(errno))),
            FileReply::Opened(status) => {
                Answer::Opened(fds.next().ok_or(Ended)?, Metadata { status })
            }
            FileReply::Found(status) => Answer::Found(Metadata { status }),
            FileReply::Link(target) => Answer::Link(OsStr::from_bytes(target).into()),
            FileReply::Entries(entries) => {
                let entries = entries.iter().map(|(kind, name)| Entry {
                    name: OsString::from_vec(name.to_vec()),
                    kind: Kind::of_entry(kind),
                });
                Answer::Entries(entries.collect())
            }
        }))
    }

    fn ask(&mut self, request: &FileRequest<'_>) -> Asked<Answer> {
        self.send(request)?;
        self.receive()
    }

    fn done(&mut self, request: &FileRequest<'_>) -> Asked<()> {
        match self.ask(request)? {
            Ok(Answer::Done) => Ok(Ok(())),
            Ok(_) => self.out_of_step(),
            Err(error) => Ok(Err(error)),
        }
    }

    fn out_of_step<T>(&mut self) -> Asked<T> {
        self.is_in_step = false;
        Err(Ended)
    }

    /// Opens a file, with flags of [`opening`](crate::exec::files_protocol::opening).
    pub(super) fn open(&mut self, path: &Remote, flags: u32, mode: u32) -> Asked<(File, Metadata)> {
        self.ask_to_open(path, flags, mode)?;
        self.opened()
    }

    /// Asks for a file without waiting for it: [`opened`](Self::opened) does that.
    pub(super) fn ask_to_open(
        &mut self,
        path: &Remote,
        flags: u32,
        mode: u32,
    ) -> Result<(), Ended> {
        let path = path.0.as_c_str();
        self.send(&FileRequest::Open { flags, mode, path })
    }

    /// The next of the files that were asked for.
    pub(super) fn opened(&mut self) -> Asked<(File, Metadata)> {
        match self.receive()? {
            Ok(Answer::Opened(fd, metadata)) => Ok(Ok((fd.into(), metadata))),
            Ok(_) => self.out_of_step(),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Reads no answers of what was asked for: nobody can use the session any more.
    pub(super) fn give_up(&mut self) {
        self.is_in_step = false;
    }

    pub(super) fn status(&mut self, path: &Remote, follows: bool) -> Asked<Metadata> {
        self.ask_for_status(path, follows)?;
        self.found()
    }

    /// Asks what something is without waiting for it: [`found`](Self::found) does that.
    pub(super) fn ask_for_status(&mut self, path: &Remote, follows: bool) -> Result<(), Ended> {
        let path = path.0.as_c_str();
        self.send(&FileRequest::Status { follows, path })
    }

    /// What the next of the things is that were asked about.
    pub(super) fn found(&mut self) -> Asked<Metadata> {
        match self.receive()? {
            Ok(Answer::Found(metadata)) => Ok(Ok(metadata)),
            Ok(_) => self.out_of_step(),
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) fn read_link(&mut self, path: &Remote) -> Asked<PathBuf> {
        match self.ask(&FileRequest::ReadLink(&path.0))? {
            Ok(Answer::Link(target)) => Ok(Ok(target)),
            Ok(_) => self.out_of_step(),
            Err(error) => Ok(Err(error)),
        }
    }

    /// What is in a directory, by name.
    pub(super) fn list(&mut self, path: &Remote) -> Asked<Vec<Entry>> {
        self.send(&FileRequest::List(&path.0))?;
        let mut found = Vec::new();
        loop {
            match self.receive()? {
                Ok(Answer::Entries(entries)) => found.extend(entries),
                Ok(Answer::Done) => break,
                Ok(_) => return self.out_of_step(),
                Err(error) => return Ok(Err(error)),
            }
        }
        found.sort();
        Ok(Ok(found))
    }

    pub(super) fn make_directory(
        &mut self,
        path: &Remote,
        mode: u32,
        is_temporary: bool,
    ) -> Asked<()> {
        let path = path.0.as_c_str();
        self.done(&FileRequest::MakeDirectory {
            mode,
            is_temporary,
            path,
        })
    }

    pub(super) fn make_link(
        &mut self,
        target: &CStr,
        path: &Remote,
        is_temporary: bool,
    ) -> Asked<()> {
        let path = path.0.as_c_str();
        self.done(&FileRequest::MakeLink {
            is_temporary,
            target,
            path,
        })
    }

    pub(super) fn remove(&mut self, removal: Removal, path: &Remote) -> Asked<()> {
        self.done(&FileRequest::Remove(removal, &path.0))
    }

    pub(super) fn rename(
        &mut self,
        from: &Remote,
        to: &Remote,
        attributes: Attributes,
        renaming: Renaming,
    ) -> Asked<()> {
        self.done(&FileRequest::Rename {
            replaces: renaming.replaces,
            syncs: renaming.syncs,
            attributes,
            from: &from.0,
            to: &to.0,
        })
    }

    pub(super) fn set(
        &mut self,
        path: &Remote,
        attributes: Attributes,
        follows: bool,
    ) -> Asked<()> {
        let path = path.0.as_c_str();
        self.done(&FileRequest::Set {
            follows,
            attributes,
            path,
        })
    }
}

/// How a file gets another name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renaming {
    pub(super) replaces: bool,
    pub(super) syncs: bool,
}
