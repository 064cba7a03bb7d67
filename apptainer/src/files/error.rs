//! What can go wrong with files in a container.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Kind;
use crate::exec::ExecError;

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// In the container.
    Container(PathBuf),
    /// On the host.
    Host(PathBuf),
}

impl Location {
    pub(super) fn container(path: impl AsRef<Path>) -> Self {
        Self::Container(path.as_ref().to_owned())
    }

    pub(super) fn host(path: impl AsRef<Path>) -> Self {
        Self::Host(path.as_ref().to_owned())
    }

    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Container(path) | Self::Host(path) => path,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(path) => write!(f, "{} in the container", path.display()),
            Self::Host(path) => write!(f, "{} on the host", path.display()),
        }
    }
}

/// Something could not be done with a file.
///
/// What was there before still is, whole, and nothing unfinished is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// There is no such file or directory, or none that it could be in.
    #[error("{doing} {at}: there is no such file or directory")]
    NotFound {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// It, or something before it in its path, is no directory.
    #[error("{doing} {at}: it is not a directory, or not in one")]
    NotADirectory {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// It is a directory.
    #[error("{doing} {at}: it is a directory")]
    IsADirectory {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// It is there already.
    #[error("{doing} {at}: it is there already")]
    Exists {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// The directory has something in it.
    #[error("{doing} {at}: the directory is not empty")]
    NotEmpty {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// Its permissions, or those of a directory before it, do not allow that.
    #[error("{doing} {at}: that is not permitted to the container's user")]
    PermissionDenied {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
        /// `EACCES` or `EPERM`.
        errno: i32,
    },
    /// The file system, or the user's share of it, is full. Of a temporary overlay, `sessiondir
    /// max size` in `apptainer.conf` says how large it is.
    #[error("{doing} {at}: there is no room left")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
        /// `ENOSPC` or `EDQUOT`.
        errno: i32,
    },
    /// The file system can only be read. An image can be written to with an overlay, such as
    /// [`temporary_overlay`](crate::instance::Spec::temporary_overlay).
    #[error("{doing} {at}: the file system can only be read; give the container an overlay")]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// The source has changed, or was removed, while it was copied. Nothing of it is at the
    /// destination.
    #[error("copy {at}: it has changed meanwhile")]
    Changed {
        /// The source.
        at: Location,
    },
    /// Something that the container says would lead out of where it is to be copied to. Nothing
    /// was written there.
    #[error("copy {at}: that leads out of the destination")]
    Escapes {
        /// What was to be copied.
        at: Location,
    },
    /// It is neither a file, a directory nor a link. Such can be
    /// [skipped](super::SpecialFiles::Skip).
    #[error("copy {at}: it is a {kind}")]
    Special {
        /// What was to be copied.
        at: Location,
        /// What it is.
        kind: Kind,
    },
    /// It has more bytes than were wanted.
    #[error("read {at}: it has more than {limit} bytes")]
    TooLarge {
        /// What was to be read.
        at: Location,
        /// The limit.
        limit: u64,
    },
    /// Nothing can have this path: it has a NUL byte in it, is empty or too long.
    #[error("use {path:?}: a path is not empty, has no NUL byte and fewer than 4096 bytes")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else is writing the same partial file.
    #[error("{doing} {at}: somebody else is doing that")]
    Busy {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
    },
    /// The container, or what serves its files, is not there or has gone meanwhile.
    #[error("use files in a container: it is not there any more")]
    NotThere {
        /// Why, if that is known.
        #[source]
        source: Option<Box<ExecError>>,
    },
    /// Files cannot be had in this way.
    #[error("use files in a container: {reason}")]
    Unsupported {
        /// Why not.
        reason: &'static str,
        /// What was tried.
        #[source]
        source: Option<Box<ExecError>>,
    },
    /// What serves them could not be started.
    #[error("use files in a container")]
    Exec(#[source] Box<ExecError>),
    /// The stream that was to be uploaded, or downloaded to, failed.
    #[error("copy {at}: the stream at the other end failed")]
    Stream {
        /// The file in the container.
        at: Location,
        /// How.
        source: io::Error,
    },
    /// Anything else.
    #[error("{doing} {at}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        at: Location,
        /// Why not.
        source: io::Error,
    },
}

impl FilesError {
    pub(super) fn new(doing: &'static str, at: Location, source: io::Error) -> Self {
        let Some(errno) = Errno::from_io_error(&source) else {
            return Self::Io { doing, at, source };
        };
        let number = errno.raw_os_error();
        match errno {
            Errno::NOENT => Self::NotFound { doing, at },
            Errno::NOTDIR => Self::NotADirectory { doing, at },
            Errno::ISDIR => Self::IsADirectory { doing, at },
            Errno::EXIST => Self::Exists { doing, at },
            Errno::NOTEMPTY => Self::NotEmpty { doing, at },
            Errno::ACCESS | Errno::PERM => Self::PermissionDenied {
                doing,
                at,
                errno: number,
            },
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace {
                doing,
                at,
                errno: number,
            },
            Errno::ROFS => Self::ReadOnly { doing, at },
            _ => Self::Io { doing, at, source },
        }
    }

    /// For what was done with something in the container.
    pub(super) fn within(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let at = Location::container(path);
        move |source| Self::new(doing, at, source)
    }

    /// For what was done with something on the host.
    pub(super) fn on_host(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let at = Location::host(path);
        move |source| Self::new(doing, at, source)
    }

    /// With what it was being done.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::NotFound { at, .. }
            | Self::NotADirectory { at, .. }
            | Self::IsADirectory { at, .. }
            | Self::Exists { at, .. }
            | Self::NotEmpty { at, .. }
            | Self::PermissionDenied { at, .. }
            | Self::NoSpace { at, .. }
            | Self::ReadOnly { at, .. }
            | Self::Changed { at }
            | Self::Escapes { at }
            | Self::Special { at, .. }
            | Self::TooLarge { at, .. }
            | Self::Busy { at, .. }
            | Self::Stream { at, .. }
            | Self::Io { at, .. } => Some(at),
            Self::Path { .. }
            | Self::NotThere { .. }
            | Self::Unsupported { .. }
            | Self::Exec(_) => None,
        }
    }

    /// What the kernel said, as errno(3) numbers it, where that was the reason.
    pub fn errno(&self) -> Option<i32> {
        let errno = match self {
            Self::NotFound { .. } => Errno::NOENT,
            Self::NotADirectory { .. } => Errno::NOTDIR,
            Self::IsADirectory { .. } => Errno::ISDIR,
            Self::Exists { .. } => Errno::EXIST,
            Self::NotEmpty { .. } => Errno::NOTEMPTY,
            Self::ReadOnly { .. } => Errno::ROFS,
            Self::PermissionDenied { errno, .. } | Self::NoSpace { errno, .. } => {
                return Some(*errno);
            }
            Self::Io { source, .. } | Self::Stream { source, .. } => return source.raw_os_error(),
            _ => return None,
        };
        Some(errno.raw_os_error())
    }

    /// Whether there is no such file or directory.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether it was there already.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }
}
