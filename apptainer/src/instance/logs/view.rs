//! Where the bytes of an output lie at a moment.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::files::{Files, times_of};
use super::record::Record;
use super::times::{self, Mark};

/// What an output's files hold, as long as nobody rotates them.
#[derive(Debug)]
pub(super) struct View<'a> {
    files: &'a Files,
    log: Option<&'a File>,
    /// The place in the output of the first byte that is in the log and nowhere else.
    pub(super) start: u64,
    /// Where in the log that is.
    offset: u64,
    /// How many bytes the output has had.
    pub(super) end: u64,
    pub(super) record: Record,
}

/// One file's part of an output.
#[derive(Debug, Clone, Copy)]
struct Part {
    file: Place,
    start: u64,
    end: u64,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Log,
    Next,
    Rotated(u32),
}

impl<'a> View<'a> {
    pub(super) fn new(files: &'a Files, log: Option<&'a File>, record: Record) -> io::Result<Self> {
        let length = log.map(File::metadata).transpose()?;
        let length = length.map_or(0, |found| found.len());
        let (start, offset) = match (record.pending, log) {
            (Some(pending), Some(log)) if pending.is_in(log)? => {
                (record.base + pending.cut, pending.cut)
            }
            (Some(pending), _) => (record.base + pending.cut, 0),
            (None, _) => (record.base, 0),
        };
        Ok(Self {
            files,
            log,
            start,
            offset,
            end: start + length.saturating_sub(offset),
            record,
        })
    }

    /// How many bytes the log has.
    pub(super) fn log_length(&self) -> u64 {
        self.end - self.start + self.offset
    }

    /// What an output has from a place on, and where that begins: elsewhere if the place is
    /// before the oldest that is there. Not more than is in one file, nor from `until` on.
    pub(super) fn read(
        &self,
        position: u64,
        until: u64,
        most: usize,
    ) -> io::Result<(u64, Vec<u8>)> {
        let part = self.part(position)?;
        let position = position.clamp(part.start, part.end);
        let within =
            usize::try_from(part.end.min(until).saturating_sub(position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; most.min(within)];
        let offset = position - part.start;
        let length = match (part.file, self.log) {
            (Place::Log, Some(log)) => times::read_at(log, &mut bytes, offset + self.offset)?,
            (Place::Log, None) => 0,
            (place, _) => times::read_at(&File::open(self.path(place))?, &mut bytes, offset)?,
        };
        bytes.truncate(length);
        Ok((position, bytes))
    }

    /// The place, or the oldest that is there if that is gone.
    pub(super) fn oldest_from(&self, position: u64) -> io::Result<u64> {
        Ok(position.max(self.part(position)?.start))
    }

    /// When what lies from `start` to `end` was seen; `None` where no times are kept.
    pub(super) fn times(&self, start: u64, end: u64) -> io::Result<Option<Vec<Mark>>> {
        let mut marks = Vec::new();
        let mut has_times = false;
        let mut place = self.part(start)?.file;
        loop {
            match File::open(times_of(&self.path(place))) {
                Ok(file) => {
                    has_times = true;
                    if times::between(&file, start, end, &mut marks)? {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            place = match place {
                Place::Log => break,
                Place::Next | Place::Rotated(0) => Place::Log,
                Place::Rotated(1) => Place::Next,
                Place::Rotated(number) => Place::Rotated(number - 1),
            };
        }
        Ok(has_times.then_some(marks))
    }

    /// That which has a place; the oldest if that is gone.
    fn part(&self, position: u64) -> io::Result<Part> {
        let mut part = Part {
            file: Place::Log,
            start: self.start,
            end: self.end,
        };
        if position >= part.start {
            return Ok(part);
        }
        if let (Some(pending), Some(_)) = (self.record.pending, self.length(Place::Next)?) {
            part = part.before(Place::Next, pending.cut);
        }
        let mut number = 0;
        // Of those that are being moved up, one is missing.
        let mut missing = 0;
        while position < part.start && missing < 2 {
            number += 1;
            match self.length(Place::Rotated(number))? {
                Some(length) => part = part.before(Place::Rotated(number), length),
                None => missing += 1,
            }
        }
        Ok(part)
    }

    fn length(&self, place: Place) -> io::Result<Option<u64>> {
        match self.path(place).metadata() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, place: Place) -> PathBuf {
        match place {
            Place::Log => self.files.log().to_owned(),
            Place::Next => self.files.next(),
            Place::Rotated(number) => self.files.rotated(number),
        }
    }
}

impl Part {
    fn before(self, file: Place, length: u64) -> Self {
        Self {
            file,
            start: self.start.saturating_sub(length),
            end: self.start,
        }
    }
}
