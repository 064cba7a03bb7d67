//! Messages as bytes.
//!
//! It allocates nothing, copies nothing that it reads, and takes nothing for granted:
//! whatever is not exactly a message is [`Malformed`]. Numbers are little-endian.

use super::protocol::{
    End, Hello, Limit, Limits, Listed, MAX_LIMITS, MAX_WORD_COUNT, MAX_WORDS, Malformed, Orphans,
    Reply, Request, Scope, Sink, Spawn, Stage, Usage, Welcome, flags,
};

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const SPAWN: u8 = 2;
    pub(super) const PING: u8 = 3;
    pub(super) const GOODBYE: u8 = 4;
    pub(super) const LIST: u8 = 5;
    pub(super) const ATTACH: u8 = 6;
    pub(super) const SIGNAL: u8 = 16;
    pub(super) const KILL: u8 = 17;
    pub(super) const RELEASE: u8 = 18;
    pub(super) const RESIZE: u8 = 19;
    pub(super) const TERMINATE: u8 = 20;
    pub(super) const WELCOME: u8 = 128;
    pub(super) const REFUSED: u8 = 129;
    pub(super) const PONG: u8 = 130;
    pub(super) const FAREWELL: u8 = 131;
    pub(super) const LISTED: u8 = 132;
    pub(super) const STARTED: u8 = 144;
    pub(super) const FAILED: u8 = 145;
    pub(super) const EXITED: u8 = 146;
}

/// What is left to read of a message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// All that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (read, left) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = left;
        Ok(read)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (read, left) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = left;
        Ok(*read)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

impl<'a> Request<'a> {
    /// Reads one: all of `message`.
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(message);
        let request = match fields.u8()? {
            kind::HELLO => Self::Hello(Hello {
                oldest: fields.u16()?,
                newest: fields.u16()?,
                orphans: match fields.u8()? {
                    0 => Orphans::Kill,
                    1 => Orphans::Keep,
                    _ => return Err(Malformed),
                },
                token: fields.array()?,
            }),
            kind::SPAWN => return Spawn::decode(fields).map(Self::Spawn),
            kind::PING => Self::Ping(fields.u64()?),
            kind::GOODBYE => Self::Goodbye,
            kind::LIST => Self::List(fields.u64()?),
            kind::ATTACH => Self::Attach(fields.u64()?),
            kind::SIGNAL => {
                let number = fields.u8()?;
                let scope = match fields.u8()? {
                    0 => Scope::Process,
                    1 => Scope::Group,
                    2 => Scope::Tree,
                    _ => return Err(Malformed),
                };
                if !(1..=64).contains(&number) {
                    return Err(Malformed);
                }
                Self::Signal(number, scope)
            }
            kind::TERMINATE => Self::Terminate,
            kind::KILL => Self::Kill,
            kind::RELEASE => Self::Release,
            kind::RESIZE => Self::Resize(fields.u16()?, fields.u16()?),
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok(request)
    }

    /// Writes it.
    pub(crate) fn encode(&self, to: &mut impl Sink) {
        match self {
            Self::Hello(hello) => {
                to.put(&[kind::HELLO]);
                to.put(&hello.oldest.to_le_bytes());
                to.put(&hello.newest.to_le_bytes());
                to.put(&[u8::from(hello.orphans == Orphans::Keep)]);
                to.put(&hello.token);
            }
            Self::Spawn(spawn) => spawn.encode(to),
            Self::Ping(number) => put_number(to, kind::PING, *number),
            Self::Goodbye => to.put(&[kind::GOODBYE]),
            Self::List(after) => put_number(to, kind::LIST, *after),
            Self::Attach(id) => put_number(to, kind::ATTACH, *id),
            Self::Signal(number, scope) => {
                let scope = match scope {
                    Scope::Process => 0,
                    Scope::Group => 1,
                    Scope::Tree => 2,
                };
                to.put(&[kind::SIGNAL, *number, scope]);
            }
            Self::Terminate => to.put(&[kind::TERMINATE]),
            Self::Kill => to.put(&[kind::KILL]),
            Self::Release => to.put(&[kind::RELEASE]),
            Self::Resize(rows, columns) => {
                to.put(&[kind::RESIZE]);
                to.put(&rows.to_le_bytes());
                to.put(&columns.to_le_bytes());
            }
        }
    }
}

fn put_number(to: &mut impl Sink, kind: u8, number: u64) {
    to.put(&[kind]);
    to.put(&number.to_le_bytes());
}

impl<'a> Spawn<'a> {
    fn decode(mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let flags = fields.u32()?;
        let umask = match fields.u32()? {
            u32::MAX => None,
            mask @ 0..=0o777 => Some(mask),
            _ => return Err(Malformed),
        };
        let nice = fields.i32()?;
        let (rows, columns) = (fields.u16()?, fields.u16()?);
        let (args, set, removed) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let limits = usize::from(fields.u8()?);
        if limits > MAX_LIMITS {
            return Err(Malformed);
        }
        let limits = Limits(fields.bytes(limits * Limit::LENGTH)?);
        let spawn = Self {
            flags,
            umask,
            nice,
            rows,
            columns,
            limits,
            args,
            set,
            removed,
            words: fields.0,
        };
        let is_apart = flags & flags::WORDS_APART != 0;
        let is_known = flags & !flags::ALL == 0 && (-40..=40).contains(&nice);
        if !is_known
            || args == 0
            || spawn.word_count().is_none()
            || is_apart && !fields.0.is_empty()
        {
            return Err(Malformed);
        }
        if !is_apart && !spawn.are_words(spawn.words) {
            return Err(Malformed);
        }
        Ok(spawn)
    }

    fn encode(&self, to: &mut impl Sink) {
        to.put(&[kind::SPAWN]);
        to.put(&self.flags.to_le_bytes());
        to.put(&self.umask.unwrap_or(u32::MAX).to_le_bytes());
        to.put(&self.nice.to_le_bytes());
        to.put(&self.rows.to_le_bytes());
        to.put(&self.columns.to_le_bytes());
        for count in [self.args, self.set, self.removed] {
            to.put(&count.to_le_bytes());
        }
        let limits = u8::try_from(self.limits.0.len() / Limit::LENGTH);
        to.put(&[limits.unwrap_or(u8::MAX)]);
        to.put(self.limits.0);
        to.put(self.words);
    }

    /// How many words there must be: these, and the working directory.
    pub(crate) fn word_count(&self) -> Option<u32> {
        let count = self.args.checked_add(self.set)?.checked_add(self.removed)?;
        Some(count.checked_add(1)?).filter(|count| *count <= MAX_WORD_COUNT)
    }

    /// Whether these bytes are the words that the message speaks of.
    pub(crate) fn are_words(&self, words: &[u8]) -> bool {
        let ends = words.split(|byte| *byte == 0).count() - 1;
        words.len() <= MAX_WORDS
            && words.last() == Some(&0)
            && self
                .word_count()
                .is_some_and(|count| count as usize == ends)
    }
}

impl Limit {
    const LENGTH: usize = 17;

    /// Writes it, for [`Limits`] to read.
    pub(crate) fn encode(self, to: &mut impl Sink) {
        to.put(&[self.resource]);
        to.put(&self.soft.to_le_bytes());
        to.put(&self.hard.to_le_bytes());
    }
}

impl<'a> Limits<'a> {
    /// Those that were written to these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Limit> {
        let all = self.0.chunks_exact(Limit::LENGTH);
        all.filter_map(|bytes| {
            let mut fields = Fields(bytes);
            Some(Limit {
                resource: fields.u8().ok()?,
                soft: fields.u64().ok()?,
                hard: fields.u64().ok()?,
            })
        })
    }
}

impl End {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        match (fields.u8()?, fields.u8()?) {
            (0, code) => Ok(Self::Code(code)),
            (1, signal @ 1..=64) => Ok(Self::Signal(signal)),
            _ => Err(Malformed),
        }
    }

    fn encode(self) -> [u8; 2] {
        match self {
            Self::Code(code) => [0, code],
            Self::Signal(signal) => [1, signal],
        }
    }
}

impl Usage {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            user: fields.u64()?,
            system: fields.u64()?,
            max_resident: fields.u64()?,
            minor_faults: fields.u64()?,
            major_faults: fields.u64()?,
            blocks_read: fields.u64()?,
            blocks_written: fields.u64()?,
            voluntary_switches: fields.u64()?,
            involuntary_switches: fields.u64()?,
        })
    }

    fn encode(&self, to: &mut impl Sink) {
        for number in [
            self.user,
            self.system,
            self.max_resident,
            self.minor_faults,
            self.major_faults,
            self.blocks_read,
            self.blocks_written,
            self.voluntary_switches,
            self.involuntary_switches,
        ] {
            to.put(&number.to_le_bytes());
        }
    }
}

impl Reply {
    /// The most that one takes.
    pub(crate) const MAX: usize = 128;

    /// Reads one: all of `message`.
    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(message);
        let reply = match fields.u8()? {
            kind::WELCOME => Self::Welcome(Welcome {
                version: fields.u16()?,
                pid: fields.u32()?,
                token: fields.array()?,
            }),
            kind::REFUSED => Self::Refused {
                oldest: fields.u16()?,
                newest: fields.u16()?,
            },
            kind::PONG => Self::Pong(fields.u64()?),
            kind::FAREWELL => Self::Farewell,
            kind::LISTED => Self::Listed(match fields.u8()? {
                0 => None,
                state @ 1..=2 => Some(Listed {
                    id: fields.u64()?,
                    pid: fields.u32()?,
                    end: match state {
                        1 => None,
                        _ => Some(End::decode(&mut fields)?),
                    },
                }),
                _ => return Err(Malformed),
            }),
            kind::STARTED => Self::Started {
                id: fields.u64()?,
                pid: fields.u32()?,
            },
            kind::FAILED => {
                let stage = usize::from(fields.u8()?);
                Self::Failed {
                    stage: *Stage::ALL.get(stage).ok_or(Malformed)?,
                    error: fields.i32()?,
                }
            }
            kind::EXITED => Self::Exited {
                end: End::decode(&mut fields)?,
                usage: Usage::decode(&mut fields)?,
            },
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok(reply)
    }

    /// Writes it.
    pub(crate) fn encode(&self, to: &mut impl Sink) {
        match self {
            Self::Welcome(welcome) => {
                to.put(&[kind::WELCOME]);
                to.put(&welcome.version.to_le_bytes());
                to.put(&welcome.pid.to_le_bytes());
                to.put(&welcome.token);
            }
            Self::Refused { oldest, newest } => {
                to.put(&[kind::REFUSED]);
                to.put(&oldest.to_le_bytes());
                to.put(&newest.to_le_bytes());
            }
            Self::Pong(number) => put_number(to, kind::PONG, *number),
            Self::Farewell => to.put(&[kind::FAREWELL]),
            Self::Listed(None) => to.put(&[kind::LISTED, 0]),
            Self::Listed(Some(Listed { id, pid, end })) => {
                to.put(&[kind::LISTED, if end.is_some() { 2 } else { 1 }]);
                to.put(&id.to_le_bytes());
                to.put(&pid.to_le_bytes());
                if let Some(end) = end {
                    to.put(&end.encode());
                }
            }
            Self::Started { id, pid } => {
                put_number(to, kind::STARTED, *id);
                to.put(&pid.to_le_bytes());
            }
            Self::Failed { stage, error } => {
                to.put(&[kind::FAILED, *stage as u8]);
                to.put(&error.to_le_bytes());
            }
            Self::Exited { end, usage } => {
                to.put(&[kind::EXITED]);
                to.put(&end.encode());
                usage.encode(to);
            }
        }
    }
}
