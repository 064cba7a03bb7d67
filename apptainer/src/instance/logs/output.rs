//! One output, line by line.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use super::LogError;
use super::lines::LogLine;
use super::log::{BLOCK, Log, Piece};
use super::times::Mark;
use crate::exec::{Source, take_line};

/// An output that is being read. Holds one block of it, and one unfinished line of at most
/// another.
#[derive(Debug)]
pub(super) struct Output {
    source: Source,
    log: Log,
    /// Where the next block is.
    position: u64,
    /// Where not to go on; when it is followed there is no such place.
    until: Option<u64>,
    chunk: Bytes,
    /// When what is in the chunk was seen.
    marks: Option<std::vec::IntoIter<Mark>>,
    unfinished: BytesMut,
    head: Option<Result<LogLine, LogError>>,
    has_times: bool,
    since: Option<SystemTime>,
    /// Whether there was nothing more when it was last looked at.
    pub(super) is_dry: bool,
}

/// What is to be read of an output.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) until: Option<u64>,
    pub(super) has_times: bool,
    pub(super) since: Option<SystemTime>,
}

impl Output {
    pub(super) fn new(source: Source, log: Log, extent: &Extent) -> Self {
        Self {
            source,
            log,
            position: extent.start,
            until: extent.until,
            chunk: Bytes::new(),
            marks: None,
            unfinished: BytesMut::new(),
            head: None,
            has_times: extent.has_times,
            since: extent.since,
            is_dry: false,
        }
    }

    /// The next line, if it is there without reading.
    pub(super) fn head(&mut self) -> Option<&Result<LogLine, LogError>> {
        while self.head.is_none() && !self.chunk.is_empty() {
            let Some((bytes, is_complete)) =
                take_line(&mut self.chunk, &mut self.unfinished, BLOCK)
            else {
                break;
            };
            self.put(bytes, is_complete);
        }
        self.head.as_ref()
    }

    pub(super) fn take(&mut self) -> Option<Result<LogLine, LogError>> {
        self.head();
        self.head.take()
    }

    /// Gives as a line what has no end; whether there is any.
    pub(super) fn finish(&mut self) -> bool {
        if !self.unfinished.is_empty() {
            let bytes = self.unfinished.split().freeze();
            self.put(bytes, false);
        }
        self.head.is_some()
    }

    fn put(&mut self, bytes: Bytes, is_complete: bool) {
        let end = self.position - self.chunk.len() as u64;
        let at = self.time(end);
        if self.since.is_some() && at < self.since {
            return;
        }
        self.head = Some(Ok(LogLine {
            source: self.source,
            at,
            bytes,
            is_complete,
        }));
    }

    /// When what ends there had been written; what was not seen before is seen now.
    fn time(&mut self, end: u64) -> Option<SystemTime> {
        let marks = self.marks.as_mut()?;
        while marks.as_slice().first().is_some_and(|mark| mark.end < end) {
            marks.next();
        }
        let mark = marks.as_slice().first();
        Some(mark.map_or_else(SystemTime::now, |mark| mark.time()))
    }

    /// Reads the next block, when the one before is used up. Blocks.
    pub(super) fn fill(&mut self) {
        if self.head().is_some() || self.is_dry {
            return;
        }
        match self.log.read(self.position, self.until, self.has_times) {
            Ok(piece) if self.since.is_some() && piece.lacks_times() => {
                let path = self.log.files.log().to_owned();
                self.fail(LogError::NoTimes { path });
            }
            Ok(piece) => self.take_in(piece),
            Err(source) => {
                let path = self.log.files.log().to_owned();
                self.fail(LogError::Io { path, source });
            }
        }
    }

    fn take_in(&mut self, piece: Piece) {
        if piece.start != self.position {
            // What there is of that line has no end any more.
            self.unfinished.clear();
        }
        if piece.start > self.position {
            let bytes = piece.start - self.position;
            let output = self.source;
            self.head = Some(Err(LogError::Skipped { output, bytes }));
        }
        self.is_dry = piece.bytes.is_empty();
        self.position = piece.start + piece.bytes.len() as u64;
        self.chunk = piece.bytes.into();
        if !self.is_dry {
            self.marks = piece.marks.map(Vec::into_iter);
        }
    }

    fn fail(&mut self, error: LogError) {
        self.head = Some(Err(error));
        self.is_dry = true;
        self.until = Some(0);
    }
}
