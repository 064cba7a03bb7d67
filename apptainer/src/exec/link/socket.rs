//! Where detached links are found again: sockets on the host's file system.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use apptainer_sys::process::{Seqpacket, listen_at};

use super::LinkError;
use crate::folders;
use crate::lock::{FileLock, Locking};

/// A socket that an agent will listen at. Dropped before it does, it is removed.
#[derive(Debug)]
pub(super) struct Listening {
    address: Address,
    listener: OwnedFd,
    /// Held until the agent is up, or will never be.
    _lock: FileLock,
    is_kept: bool,
}

/// The socket that an agent listens at.
#[derive(Debug, Clone)]
pub(super) struct Address {
    path: PathBuf,
    /// Which it is: another may come to have the path.
    identity: Identity,
}

impl Listening {
    /// Makes the socket, and its folder where there is none. One that nobody listens at any
    /// more is replaced.
    pub(super) fn at(path: &Path) -> Result<Self, LinkError> {
        let failed = |source| LinkError::Io {
            doing: "make the socket of a link",
            source,
        };
        let path = std::path::absolute(path).map_err(failed)?;
        make_private(folder(&path))?;
        // Whoever has the lock is making the link.
        let Some(lock) = lock(&path).map_err(failed)? else {
            return Err(LinkError::InUse { path });
        };
        if !remove_if_stale(&path).map_err(failed)? {
            return Err(LinkError::InUse { path });
        }
        let listener = reach(&path, listen_at).map_err(failed)?;
        let address = Address::of(path).map_err(failed)?;
        Ok(Self {
            address,
            listener,
            _lock: lock,
            is_kept: false,
        })
    }

    /// Another descriptor of what the agent accepts callers at.
    pub(super) fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone()
    }

    /// Leaves it to the agent.
    pub(super) fn keep(mut self) -> Address {
        self.is_kept = true;
        self.address.clone()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.address.path);
        }
    }
}

impl Address {
    /// Connects to the agent that listens there, if it is of the same user.
    pub(super) fn connect(path: &Path) -> Result<(Self, Seqpacket), LinkError> {
        let failed = |source| LinkError::Io {
            doing: "connect to a link",
            source,
        };
        let path = std::path::absolute(path).map_err(failed)?;
        let connected = reach(&path, Seqpacket::connect)
            .and_then(|socket| Ok((Self::of(path.clone())?, socket)));
        let (address, socket) = match connected {
            Err(error) if is_nobody(&error) => return Err(LinkError::NotThere { path }),
            connected => connected.map_err(failed)?,
        };
        if socket.peer_user().map_err(failed)? != nix::unistd::geteuid().as_raw() {
            return Err(LinkError::NotOurs { path });
        }
        Ok((address, socket))
    }

    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }

    /// Takes the socket of an agent away that has ended, unless another has its path now.
    ///
    /// It need not be stale yet: the `apptainer` that the agent ran in has it open, too.
    pub(super) fn clean_up(&self) {
        let removed = lock(&self.path).and_then(|lock| match lock {
            Some(_lock) if identity(&self.path)? == self.identity => fs::remove_file(&self.path),
            // Whoever has the lock is about to replace it.
            _ => Ok(()),
        });
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket of a link");
            }
            _ => {}
        }
    }
}

/// A file's device, inode, which may be another's next, and time of change.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let found = fs::symlink_metadata(path)?;
    let (dev, ino) = (found.dev(), found.ino());
    Ok((dev, ino, found.ctime(), found.ctime_nsec()))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn lock(path: &Path) -> io::Result<Option<FileLock>> {
    let mut path = path.to_owned().into_os_string();
    path.push(".lock");
    FileLock::try_take(Path::new(&path), Locking::Flock)
}

/// Whether nobody listens there; if so, nothing is there afterwards.
fn remove_if_stale(path: &Path) -> io::Result<bool> {
    match reach(path, Seqpacket::connect) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if is_nobody(&error) => {
            // The kernel says the same of files of any kind.
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::remove_file(path).map(|()| true)
        }
        Err(error) => Err(error),
    }
}

/// Uses a socket by a path that is short enough: those of sockets may have 107 bytes.
fn reach<T>(path: &Path, using: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(folder(path))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder_path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    using(&folder_path.join(name))
}

/// Whether an error says that nobody listens at a path.
fn is_nobody(error: &io::Error) -> bool {
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    nobody.contains(&error.kind())
}

/// Sees to it that a folder is there, and that nobody else may enter it.
fn make_private(folder: &Path) -> Result<(), LinkError> {
    match folders::make_private(folder) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let path = folder.to_owned();
            Err(LinkError::NotPrivate { path })
        }
        Err(source) => Err(LinkError::Io {
            doing: "make the folder of a link's socket",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn private() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_socket_is_there_once() {
        let folder = private();
        let path = folder.path().join("link");
        let listening = Listening::at(&path).unwrap();
        assert!(matches!(Listening::at(&path), Err(LinkError::InUse { .. })));
        let listener = listening.listener().unwrap();
        listening.keep();
        assert!(matches!(Listening::at(&path), Err(LinkError::InUse { .. })));
        Address::connect(&path).unwrap();
        drop(listener);
    }

    #[test]
    fn a_stale_one_is_replaced() {
        let folder = private();
        let path = folder.path().join("link");
        Listening::at(&path).unwrap().keep();
        assert_eq!(names(folder.path()), ["link"]);
        let error = Address::connect(&path).unwrap_err();
        assert!(matches!(error, LinkError::NotThere { .. }), "{error}");
        Listening::at(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn only_its_own_socket_is_cleaned_up() {
        let folder = private();
        let path = folder.path().join("link");
        let first = Listening::at(&path).unwrap().keep();
        // The file system's clock may be slow to tick.
        let second = loop {
            let second = Listening::at(&path).unwrap().keep();
            if second.identity != first.identity {
                break second;
            }
        };
        first.clean_up();
        assert_eq!(names(folder.path()), ["link"]);
        second.clean_up();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = private();
        let path = folder.path().join("link");
        fs::write(&path, "precious").unwrap();
        Listening::at(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let folder = private();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Listening::at(&folder.path().join("link")).unwrap_err();
        assert!(matches!(error, LinkError::NotPrivate { .. }), "{error}");
        Listening::at(&folder.path().join("made/for/it")).unwrap();
    }

    #[test]
    fn a_path_may_be_long() {
        let folder = private();
        let path = folder.path().join("x".repeat(200)).join("link");
        Listening::at(&path).unwrap();
    }
}
