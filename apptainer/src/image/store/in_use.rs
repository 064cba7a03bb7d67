//! Entries that are in use.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

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
    /// Held by one of all who ask whether it is used: they would take each other for users.
    _folder: File,
}

/// For how long an image counts as in use after its last use where locks do not tell.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// For how long to wait for whoever has an entry alone, to see whether it is used or to move it
/// away. That takes a moment, unless it is stopped meanwhile.
const MOMENT: Duration = Duration::from_secs(10);

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
        match wait(|| file.try_lock_shared()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
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

    /// The same where it has been moved to.
    pub(super) fn moved_to(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    pub(in crate::image) fn record(&self) -> io::Result<Option<EntryRecord>> {
        record::read(&self.folder.join(ENTRY))
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

/// Tries until nobody has it alone any more.
fn wait(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + MOMENT;
    loop {
        match lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PAUSE),
            locked => return locked,
        }
    }
}

impl Unused {
    /// The entry at this path, where nobody uses it; `None` where somebody does.
    pub(super) fn take(path: &Path, locking: Locking) -> io::Result<Option<Self>> {
        let folder = File::open(path)?;
        // Where directories cannot be locked it goes without.
        let _ = wait(|| folder.try_lock());
        let path = path.join(ENTRY);
        // On a network the lock takes a file that can be written to.
        let file = File::options().read(true).write(true).open(&path)?;
        let is_locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Ok(()) => true,
            Err(TryLockError::Error(_)) => false,
        };
        // It may have been taken away in between, and another be there that is in use.
        if !is_at(&file, &path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !is_locked || locking != Locking::Flock {
            // Nobody can tell whether it is in use on another node: what was used lately may be.
            let last = file.metadata()?.modified()?;
            if last.elapsed().map_or(true, |age| age < LATELY) {
                return Ok(None);
            }
        }
        Ok(Some(Self {
            _file: file,
            _folder: folder,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::image::store::{EntryRecord, Source, write_entry};
    use crate::image::{Conversion, Platform};

    fn entry() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let record = EntryRecord {
            reference: "docker://a".into(),
            source: Source::Manifest("sha256:a".into()),
            platform: Platform::host(),
            conversion: Conversion::default(),
            created: 0,
            size: 0,
            sif: None,
        };
        write_entry(folder.path(), &record).unwrap();
        folder
    }

    /// Calls it very often in two threads at once.
    fn twice_at_once(call: impl Fn() + Sync) {
        let start = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    (0..2000).for_each(|_| call());
                });
            }
        });
    }

    #[test]
    fn whoever_asks_whether_it_is_used_is_no_user() {
        let folder = entry();
        twice_at_once(|| {
            let unused = Unused::take(folder.path(), Locking::Flock).unwrap();
            assert!(unused.is_some());
        });
    }

    #[test]
    fn what_is_asked_about_can_be_used_meanwhile() {
        let folder = entry();
        twice_at_once(|| {
            let asked = Unused::take(folder.path(), Locking::Flock).unwrap();
            drop(asked);
            assert!(InUse::take(folder.path()).unwrap().is_some());
        });
    }

    #[test]
    fn what_is_used_is_not_taken_away() {
        let folder = entry();
        let used = InUse::take(folder.path()).unwrap();
        let taken = Unused::take(folder.path(), Locking::Flock).unwrap();
        assert!(taken.is_none());
        drop(used);
        let taken = Unused::take(folder.path(), Locking::Flock).unwrap();
        assert!(taken.is_some());
    }
}
