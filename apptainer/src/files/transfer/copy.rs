//! Copying the bytes of a file, and counting them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustix::fs::Stat;

use super::options::{Options, Progress, Report, Skipped, SpecialFiles};
use crate::files::session::Wire;
use crate::files::{FilesError, Kind, Location, Metadata};

/// What is copied before it is looked whether to go on.
const CHUNK: usize = 8 << 20;

/// What is read at a time where the kernel does not copy by itself.
const BUFFER: usize = 1 << 20;

/// Files with fewer bytes are read and written: one call is less than asking the kernel whether it
/// copies.
const SMALL: u64 = 128 << 10;

/// A file that is read, and what it was when that began.
pub(super) struct Source<'f> {
    pub(super) file: &'f File,
    pub(super) at: Location,
    pub(super) length: u64,
}

/// A file that is written.
pub(super) struct Sink<'f> {
    pub(super) file: &'f File,
    pub(super) at: Location,
}

/// What is copied by one call, and what has been.
pub(super) struct Job {
    wire: Arc<Wire>,
    pub(super) options: Options,
    pub(super) report: Report,
    total: Option<u64>,
    buffer: Vec<u8>,
    /// Whether the kernel has refused to copy between these file systems.
    is_refused: bool,
}

impl Job {
    pub(super) fn new(wire: &Arc<Wire>, options: Options) -> Self {
        Self {
            wire: Arc::clone(wire),
            options,
            report: Report::default(),
            total: None,
            buffer: Vec::new(),
            is_refused: false,
        }
    }

    /// How much there is of a single file.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.total = Some(bytes);
    }

    /// Fails where what is done has been called off.
    pub(super) fn go_on(&self) -> Result<(), FilesError> {
        if self.wire.is_called_off() {
            return Err(FilesError::NotThere { source: None });
        }
        Ok(())
    }

    fn tell(&self) {
        self.options.listener.tell(Progress {
            bytes: self.report.bytes,
            files: self.report.files,
            total_bytes: self.total,
        });
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        self.tell();
    }

    /// A file has been copied.
    pub(super) fn note_file(&mut self) {
        self.report.files += 1;
        self.tell();
    }

    /// Leaves out what cannot be copied, or fails.
    pub(super) fn skip(&mut self, at: Location, kind: Kind) -> Result<(), FilesError> {
        match self.options.special {
            SpecialFiles::Skip => {
                self.report.skipped.push(Skipped { at, kind });
                Ok(())
            }
            SpecialFiles::Refuse => Err(FilesError::Special { at, kind }),
        }
    }

    /// Copies what comes after this position, which both files are at. That there is more or less
    /// of it than there was is an error.
    pub(super) fn copy(
        &mut self,
        source: &Source<'_>,
        sink: &Sink<'_>,
        position: u64,
    ) -> Result<(), FilesError> {
        let mut copied = position;
        loop {
            self.go_on()?;
            let left = source.length.saturating_sub(copied);
            let count = self.copy_some(source, sink, left)?;
            copied += count;
            if count == 0 || copied > source.length {
                break;
            }
            self.add(count);
        }
        if copied != source.length {
            let at = source.at.clone();
            return Err(FilesError::Changed { at });
        }
        Ok(())
    }

    fn copy_some(
        &mut self,
        source: &Source<'_>,
        sink: &Sink<'_>,
        left: u64,
    ) -> Result<u64, FilesError> {
        if left >= SMALL && !self.is_refused {
            let chunk = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            match rustix::fs::copy_file_range(source.file, None, sink.file, None, chunk) {
                Ok(count @ 1..) => return Ok(u64::try_from(count).unwrap_or(u64::MAX)),
                // What it cannot, reading and writing can, or says why not.
                Ok(0) => {}
                Err(_) => self.is_refused = true,
            }
        }
        // One more than is left tells whether there is more.
        let wanted = usize::try_from(left.saturating_add(1)).unwrap_or(BUFFER);
        let wanted = wanted.clamp(4096, BUFFER);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let buffer = &mut self.buffer[..wanted];
        let count = loop {
            match { source.file }.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let failed = |source, at: &Location| FilesError::new("copy", at.clone(), source);
        let count = count.map_err(|error| failed(error, &source.at))?;
        let written = { sink.file }.write_all(&buffer[..count]);
        written.map_err(|error| failed(error, &sink.at))?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// By what it is seen that a file has changed: its length, and when that was.
pub(super) type Version = (u64, i64, u64);

pub(super) fn version(found: &Stat) -> Version {
    let length = u64::try_from(found.st_size).unwrap_or(0);
    (length, found.st_mtime, found.st_mtime_nsec)
}

pub(super) fn remote_version(found: &Metadata) -> Version {
    let (seconds, nanoseconds) = found.status.modified;
    (found.len(), seconds, nanoseconds.into())
}

/// When it was changed, as a server is told.
pub(super) fn modified(found: &Stat) -> (i64, u32) {
    (
        found.st_mtime,
        u32::try_from(found.st_mtime_nsec).unwrap_or(0),
    )
}
