//! Going on with a file where an attempt before has left it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use rustix::fs::FlockOperation;

use super::copy::{Job, Sink, Source};
use crate::files::{FilesError, Location};

/// What is compared at a time.
const CHUNK: usize = 1 << 20;

/// Sees to it that nobody else writes the same.
pub(super) fn lock(partial: &File, at: &Location) -> Result<(), FilesError> {
    match rustix::fs::flock(partial, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FilesError::Busy {
            doing: "write",
            at: at.clone(),
        }),
        // Where there are no locks, there is none.
        _ => Ok(()),
    }
}

/// Whether the source begins with the so many bytes that have been copied of it. If so, both are
/// positioned behind them.
pub(super) fn is_beginning(
    job: &Job,
    source: &Source<'_>,
    partial: &Sink<'_>,
    length: u64,
) -> Result<bool, FilesError> {
    if length > source.length {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    while at < length {
        job.go_on()?;
        let count = usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK);
        let failed = |at: &Location| {
            let at = at.clone();
            move |error| FilesError::new("read", at, error)
        };
        match source.file.read_exact_at(&mut one[..count], at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let at = source.at.clone();
                return Err(FilesError::Changed { at });
            }
            read => read.map_err(failed(&source.at))?,
        }
        let read = partial.file.read_exact_at(&mut other[..count], at);
        read.map_err(failed(&partial.at))?;
        if one[..count] != other[..count] {
            return Ok(false);
        }
        at += u64::try_from(count).unwrap_or(0);
    }
    for (mut file, at) in [(source.file, &source.at), (partial.file, &partial.at)] {
        let sought = file.seek(SeekFrom::Start(length));
        sought.map_err(|error| FilesError::new("read", at.clone(), error))?;
    }
    Ok(true)
}
