//! Reading an output that others write to and rotate.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::files::Files;
use super::record::Record;
use super::times::Mark;
use super::view::View;

/// An output, to be read. What it has open it can read when the files have been removed.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) files: Files,
    log: Option<File>,
    record: Option<File>,
}

/// Some bytes of an output.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    /// When they were seen, if that was asked for and is known.
    pub(super) marks: Option<Vec<Mark>>,
}

impl Piece {
    /// Whether it has content whose times are not known.
    pub(super) fn lacks_times(&self) -> bool {
        self.marks.is_none() && !self.bytes.is_empty()
    }
}

/// How many bytes are read at a time.
pub(super) const BLOCK: usize = 64 * 1024;

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            files: Files::new(path),
            log: None,
            record: None,
        }
    }

    /// Looks at the files while nobody rotates them. It may look twice, and the second counts.
    pub(super) fn look<T>(
        &mut self,
        mut look: impl FnMut(&View<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if self.log.is_none() {
                self.log = open(self.files.log().to_owned())?;
            }
            if let Some(record) = &self.record {
                record.lock_shared()?;
                let view = Record::read(record)
                    .and_then(|record| View::new(&self.files, self.log.as_ref(), record));
                let seen = view.and_then(|view| look(&view));
                record.unlock()?;
                return seen;
            }
            let view = View::new(&self.files, self.log.as_ref(), Record::default());
            let seen = view.and_then(|view| look(&view));
            // Who rotates for the first time makes one before anything else.
            self.record = open(self.files.record())?;
            if self.record.is_none() {
                return seen;
            }
        }
    }

    /// What comes at a place, before `until`: nothing at the end.
    pub(super) fn read(
        &mut self,
        position: u64,
        until: Option<u64>,
        has_times: bool,
    ) -> io::Result<Piece> {
        self.look(|view| {
            // Past the end: somebody has emptied the log.
            let position = if position > view.end {
                view.start
            } else {
                position
            };
            let (start, bytes) = view.read(position, until.unwrap_or(u64::MAX), BLOCK)?;
            let end = start + bytes.len() as u64;
            let marks = has_times.then(|| view.times(start, end)).transpose()?;
            Ok(Piece {
                start,
                bytes,
                marks: marks.flatten(),
            })
        })
    }

    /// How many bytes the output has had.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        self.look(|view| Ok(view.end))
    }
}

/// How many bytes the outputs have had so far, whichever of them are still there.
pub(in crate::instance) fn ends(logs: &[PathBuf; 2]) -> io::Result<[u64; 2]> {
    let [out, err] = logs;
    Ok([Log::new(out.clone()).end()?, Log::new(err.clone()).end()?])
}

fn open(path: PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
