//! What a file server and its caller say to each other: the messages, and these as bytes.
//!
//! `PROTOCOL.md` beside this file tells the whole of it. Like `protocol.rs`, this file is
//! compiled into both sides.

use core::ffi::CStr;

use super::codec::Fields;
use super::protocol::{Malformed, Sink};

/// The version that is spoken here.
pub(crate) const FILES_VERSION: u16 = 1;

/// The most that one message takes.
pub(crate) const MAX_FILES_MESSAGE: usize = 32 * 1024;

/// The most that a path takes, its NUL included: `PATH_MAX` of linux/limits.h.
pub(crate) const MAX_PATH: usize = 4096;

/// What [`FileRequest::Open`] is asked with.
pub(crate) mod opening {
    pub(crate) const READ: u32 = 1;
    pub(crate) const WRITE: u32 = 1 << 1;
    /// Make it, where it is not there.
    pub(crate) const CREATE: u32 = 1 << 2;
    /// It is not to be there.
    pub(crate) const EXCLUSIVE: u32 = 1 << 3;
    /// Empty it.
    pub(crate) const TRUNCATE: u32 = 1 << 4;
    /// A link at the end of the path is an error.
    pub(crate) const NO_FOLLOW: u32 = 1 << 5;
    /// Remove it when the caller is gone, unless it has been renamed.
    pub(crate) const TEMPORARY: u32 = 1 << 6;
    /// All of them.
    pub(crate) const ALL: u32 = (1 << 7) - 1;
}

/// What a file has besides what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    /// Permissions, of `0o7777`.
    pub(crate) mode: Option<u32>,
    /// When it was changed: seconds, and nanoseconds below one.
    pub(crate) modified: Option<(i64, u32)>,
}

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Anything but a directory.
    File,
    /// An empty directory.
    Directory,
    /// Whatever it is, with all that is in it.
    All,
}

/// What a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileRequest<'a> {
    /// A descriptor; `flags` are of [`opening`], `mode` is that of a file that is made.
    Open {
        flags: u32,
        mode: u32,
        path: &'a CStr,
    },
    /// What it is; of a link itself, where that is not followed.
    Status {
        follows: bool,
        path: &'a CStr,
    },
    /// Where a link leads.
    ReadLink(&'a CStr),
    /// What is in a directory.
    List(&'a CStr),
    MakeDirectory {
        mode: u32,
        is_temporary: bool,
        path: &'a CStr,
    },
    MakeLink {
        is_temporary: bool,
        target: &'a CStr,
        path: &'a CStr,
    },
    Remove(Removal, &'a CStr),
    /// Gives it attributes, and then another name.
    Rename {
        /// Whether what has that name is replaced.
        replaces: bool,
        /// Whether to wait until the name is on disk.
        syncs: bool,
        attributes: Attributes,
        from: &'a CStr,
        to: &'a CStr,
    },
    /// Gives it attributes; to a link itself, where that is not followed.
    Set {
        follows: bool,
        attributes: Attributes,
        path: &'a CStr,
    },
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// `st_mode`: its kind and its permissions.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Seconds, and nanoseconds below one.
    pub(crate) modified: (i64, u32),
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileReply<'a> {
    /// First of all.
    Ready {
        version: u16,
    },
    /// It is done; or, after entries, there are no more.
    Done,
    /// It was not, with this error.
    Failed(i32),
    /// It is open, and the descriptor comes along.
    Opened(Status),
    Found(Status),
    /// Where a link leads.
    Link(&'a [u8]),
    /// Some of what is in a directory.
    Entries(Entries<'a>),
}

/// Entries of a directory: each a kind, of `DT_*` in dirent.h, and a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entries<'a>(&'a [u8]);

mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const STATUS: u8 = 2;
    pub(super) const READ_LINK: u8 = 3;
    pub(super) const LIST: u8 = 4;
    pub(super) const MAKE_DIRECTORY: u8 = 5;
    pub(super) const MAKE_LINK: u8 = 6;
    pub(super) const REMOVE: u8 = 7;
    pub(super) const RENAME: u8 = 8;
    pub(super) const SET: u8 = 9;
    pub(super) const READY: u8 = 128;
    pub(super) const DONE: u8 = 129;
    pub(super) const FAILED: u8 = 130;
    pub(super) const OPENED: u8 = 131;
    pub(super) const FOUND: u8 = 132;
    pub(super) const LINK: u8 = 133;
    pub(super) const ENTRIES: u8 = 134;
}

fn flag(fields: &mut Fields<'_>) -> Result<bool, Malformed> {
    match fields.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn mode(fields: &mut Fields<'_>) -> Result<u32, Malformed> {
    let mode = fields.u32()?;
    if mode > 0o7777 {
        return Err(Malformed);
    }
    Ok(mode)
}

fn path<'a>(fields: &mut Fields<'a>) -> Result<&'a CStr, Malformed> {
    let length = usize::from(fields.u16()?);
    if length > MAX_PATH {
        return Err(Malformed);
    }
    CStr::from_bytes_with_nul(fields.bytes(length)?).map_err(|_| Malformed)
}

fn put_path(to: &mut impl Sink, path: &CStr) {
    let path = path.to_bytes_with_nul();
    // No message has room for a longer one.
    to.put(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    to.put(path);
}

impl Attributes {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let which = fields.u8()?;
        if which > 3 {
            return Err(Malformed);
        }
        let mut attributes = Self::default();
        if which & 1 != 0 {
            attributes.mode = Some(mode(fields)?);
        }
        if which & 2 != 0 {
            attributes.modified = Some(time(fields)?);
        }
        Ok(attributes)
    }

    fn encode(self, to: &mut impl Sink) {
        let which = u8::from(self.mode.is_some()) | u8::from(self.modified.is_some()) << 1;
        to.put(&[which]);
        if let Some(mode) = self.mode {
            to.put(&mode.to_le_bytes());
        }
        if let Some(modified) = self.modified {
            put_time(to, modified);
        }
    }
}

fn time(fields: &mut Fields<'_>) -> Result<(i64, u32), Malformed> {
    let time = (i64::from_le_bytes(fields.array()?), fields.u32()?);
    if time.1 >= 1_000_000_000 {
        return Err(Malformed);
    }
    Ok(time)
}

fn put_time(to: &mut impl Sink, (seconds, nanoseconds): (i64, u32)) {
    to.put(&seconds.to_le_bytes());
    to.put(&nanoseconds.to_le_bytes());
}

impl<'a> FileRequest<'a> {
    /// Reads one: all of `message`.
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(message);
        let fields = &mut fields;
        let request = match fields.u8()? {
            kind::OPEN => {
                let flags = fields.u32()?;
                if flags & !opening::ALL != 0 {
                    return Err(Malformed);
                }
                Self::Open {
                    flags,
                    mode: mode(fields)?,
                    path: path(fields)?,
                }
            }
            kind::STATUS => Self::Status {
                follows: flag(fields)?,
                path: path(fields)?,
            },
            kind::READ_LINK => Self::ReadLink(path(fields)?),
            kind::LIST => Self::List(path(fields)?),
            kind::MAKE_DIRECTORY => Self::MakeDirectory {
                mode: mode(fields)?,
                is_temporary: flag(fields)?,
                path: path(fields)?,
            },
            kind::MAKE_LINK => Self::MakeLink {
                is_temporary: flag(fields)?,
                target: path(fields)?,
                path: path(fields)?,
            },
            kind::REMOVE => {
                let removal = match fields.u8()? {
                    0 => Removal::File,
                    1 => Removal::Directory,
                    2 => Removal::All,
                    _ => return Err(Malformed),
                };
                Self::Remove(removal, path(fields)?)
            }
            kind::RENAME => Self::Rename {
                replaces: flag(fields)?,
                syncs: flag(fields)?,
                attributes: Attributes::decode(fields)?,
                from: path(fields)?,
                to: path(fields)?,
            },
            kind::SET => Self::Set {
                follows: flag(fields)?,
                attributes: Attributes::decode(fields)?,
                path: path(fields)?,
            },
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok(request)
    }

    /// Writes it.
    pub(crate) fn encode(&self, to: &mut impl Sink) {
        match *self {
            Self::Open { flags, mode, path } => {
                to.put(&[kind::OPEN]);
                to.put(&flags.to_le_bytes());
                to.put(&mode.to_le_bytes());
                put_path(to, path);
            }
            Self::Status { follows, path } => {
                to.put(&[kind::STATUS, u8::from(follows)]);
                put_path(to, path);
            }
            Self::ReadLink(path) => {
                to.put(&[kind::READ_LINK]);
                put_path(to, path);
            }
            Self::List(path) => {
                to.put(&[kind::LIST]);
                put_path(to, path);
            }
            Self::MakeDirectory {
                mode,
                is_temporary,
                path,
            } => {
                to.put(&[kind::MAKE_DIRECTORY]);
                to.put(&mode.to_le_bytes());
                to.put(&[u8::from(is_temporary)]);
                put_path(to, path);
            }
            Self::MakeLink {
                is_temporary,
                target,
                path,
            } => {
                to.put(&[kind::MAKE_LINK, u8::from(is_temporary)]);
                put_path(to, target);
                put_path(to, path);
            }
            Self::Remove(removal, path) => {
                let removal = match removal {
                    Removal::File => 0,
                    Removal::Directory => 1,
                    Removal::All => 2,
                };
                to.put(&[kind::REMOVE, removal]);
                put_path(to, path);
            }
            Self::Rename {
                replaces,
                syncs,
                attributes,
                from,
                to: new,
            } => {
                to.put(&[kind::RENAME, u8::from(replaces), u8::from(syncs)]);
                attributes.encode(to);
                put_path(to, from);
                put_path(to, new);
            }
            Self::Set {
                follows,
                attributes,
                path,
            } => {
                to.put(&[kind::SET, u8::from(follows)]);
                attributes.encode(to);
                put_path(to, path);
            }
        }
    }
}

impl Status {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            mode: fields.u32()?,
            size: fields.u64()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
            links: fields.u32()?,
            device: fields.u64()?,
            inode: fields.u64()?,
            modified: time(fields)?,
        })
    }

    fn encode(&self, to: &mut impl Sink) {
        to.put(&self.mode.to_le_bytes());
        to.put(&self.size.to_le_bytes());
        to.put(&self.uid.to_le_bytes());
        to.put(&self.gid.to_le_bytes());
        to.put(&self.links.to_le_bytes());
        to.put(&self.device.to_le_bytes());
        to.put(&self.inode.to_le_bytes());
        put_time(to, self.modified);
    }
}

impl<'a> FileReply<'a> {
    /// Reads one: all of `message`.
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(message);
        let reply = match fields.u8()? {
            kind::READY => Self::Ready {
                version: fields.u16()?,
            },
            kind::DONE => Self::Done,
            kind::FAILED => Self::Failed(fields.i32()?),
            kind::OPENED => Self::Opened(Status::decode(&mut fields)?),
            kind::FOUND => Self::Found(Status::decode(&mut fields)?),
            kind::LINK => return Ok(Self::Link(fields.rest())),
            kind::ENTRIES => return Entries::new(fields.rest()).map(Self::Entries),
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok(reply)
    }

    /// Writes it.
    pub(crate) fn encode(&self, to: &mut impl Sink) {
        match self {
            Self::Ready { version } => {
                to.put(&[kind::READY]);
                to.put(&version.to_le_bytes());
            }
            Self::Done => to.put(&[kind::DONE]),
            Self::Failed(error) => {
                to.put(&[kind::FAILED]);
                to.put(&error.to_le_bytes());
            }
            Self::Opened(status) => {
                to.put(&[kind::OPENED]);
                status.encode(to);
            }
            Self::Found(status) => {
                to.put(&[kind::FOUND]);
                status.encode(to);
            }
            Self::Link(target) => {
                to.put(&[kind::LINK]);
                to.put(target);
            }
            Self::Entries(entries) => {
                to.put(&[kind::ENTRIES]);
                to.put(entries.0);
            }
        }
    }
}

impl<'a> Entries<'a> {
    /// Those that have been [put](Self::put) into these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(bytes);
        while fields.end().is_err() {
            Self::next(&mut fields)?;
        }
        Ok(Self(bytes))
    }

    /// Writes one.
    pub(crate) fn put(to: &mut impl Sink, kind: u8, name: &[u8]) {
        to.put(&[kind]);
        to.put(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        to.put(name);
    }

    fn next(fields: &mut Fields<'a>) -> Result<(u8, &'a [u8]), Malformed> {
        let kind = fields.u8()?;
        let length = usize::from(fields.u16()?);
        Ok((kind, fields.bytes(length)?))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut fields = Fields::of(self.0);
        core::iter::from_fn(move || Self::next(&mut fields).ok())
    }
}
