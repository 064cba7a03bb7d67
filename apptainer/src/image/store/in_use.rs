//! Entries that are in use.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::record::{self, ENTRY, EntryRecord};
use crate::lock::{Locking, is_at};

/// An entry of a store that is not taken away for as long as this lives, nor for as long as a
/// process has a descriptor of [its lock](Self::lock).
#[derive(Debug)]
pub(in crate::image) struct InUse {
    folder: PathBuf,
    /// With a shared lock, where the file system has such.
    _lock: File,
}

/// An entry that nobody uses, nor comes to use for as long as this lives.
#[derive(Debug)]
pub(super) struct Unused {
    _file: File,
}

/// For how long an image counts as in use after its last use where locks do not tell.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// How exactly the time of an entry's last use is kept.
const EXACTNESS: Duration = Duration::from_secs(60);

impl InUse {
    /// Takes the entry into use at this path; `None` where there is none.
    pub(super) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(ENTRY);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            // It is being taken away.
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, path = %path.display(), "an image in use cannot be locked");
            }
        }
        // It may have been taken away in between.
        if !is_at(&file, &path)? {
            return Ok(None);
        }
        if record::read::<EntryRecord>(&path)?.is_none() {
            return Ok(None);
        }
        touch(&file);
        Ok(Some(Self {
            folder: folder.to_owned(),
            _lock: file,
        }))
    }

    pub(in crate::image) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A lock of its own, for a process that may outlive this one.
    pub(in crate::image) fn lock(&self) -> io::Result<Option<OwnedFd>> {
        let file = File::open(self.folder.join(ENTRY))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file.into())),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

/// Notes that it is used now. Only its owner can.
fn touch(file: &File) {
    let now = SystemTime::now();
    let last = file.metadata().and_then(|found| found.modified());
    // A time to come is a clock's that was set back.
    let is_recent = last.map(|last| now.duration_since(last).is_ok_and(|age| age <= EXACTNESS));
    if !is_recent.unwrap_or(false) {
        let _ = file.set_modified(now);
    }
}

impl Unused {
    /// The entry at this path, where nobody uses it; `None` where somebody does.
    pub(super) fn take(folder: &Path, locking: Locking) -> io::Result<Option<Self>> {
        // On a network the lock takes a file that can be written to.
        let file = File::options()
            .read(true)
            .write(true)
            .open(folder.join(ENTRY))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Ok(()) if locking == Locking::Flock => return Ok(Some(Self { _file: file })),
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Nobody can tell whether it is in use on another node: what was used lately may be.
        let last = file.metadata()?.modified()?;
        let is_lately = last.elapsed().map_or(true, |age| age < LATELY);
        Ok((!is_lately).then_some(Self { _file: file }))
    }
}
