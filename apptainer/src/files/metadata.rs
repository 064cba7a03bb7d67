//! What a file is.

use std::ffi::OsString;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::exec::files_protocol::Status;

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// Something else, or the file system does not say.
    Unknown,
}

impl Kind {
    /// From `DT_*` of dirent.h.
    pub(super) fn of_entry(kind: u8) -> Self {
        Self::of_mode(u32::from(kind) << 12)
    }

    /// From `st_mode`, as inode(7) has it.
    pub(super) fn of_mode(mode: u32) -> Self {
        match mode >> 12 {
            1 => Self::Fifo,
            2 => Self::CharacterDevice,
            4 => Self::Directory,
            6 => Self::BlockDevice,
            8 => Self::File,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Unknown => "file of an unknown kind",
        })
    }
}

/// What a file in a container is. Numbers of users and groups are the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub(super) status: Status,
}

impl Metadata {
    /// What kind of file it is.
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.status.mode)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == Kind::File
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == Kind::Directory
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind() == Kind::Symlink
    }

    /// How many bytes are in it.
    #[expect(clippy::len_without_is_empty, reason = "as in std::fs::Metadata")]
    pub fn len(&self) -> u64 {
        self.status.size
    }

    /// Its permissions, with the set-user-ID, set-group-ID and sticky bits: of `0o7777`.
    pub fn mode(&self) -> u32 {
        self.status.mode & 0o7777
    }

    /// Whose it is, as the container numbers users.
    pub fn uid(&self) -> u32 {
        self.status.uid
    }

    /// Which group's it is, as the container numbers them.
    pub fn gid(&self) -> u32 {
        self.status.gid
    }

    /// How many names it has.
    pub fn links(&self) -> u32 {
        self.status.links
    }

    /// Its number on its file system.
    pub fn inode(&self) -> u64 {
        self.status.inode
    }

    /// When what is in it was last changed. A time that cannot be said is the epoch.
    pub fn modified(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.status.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        time.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, which may hold any byte but NUL and `/`.
    pub name: OsString,
    /// What it is; of a link, that it is one.
    pub kind: Kind,
}
