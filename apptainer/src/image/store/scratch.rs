//! Directories for work in progress, which nothing survives in.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::lock::{FileLock, Locking};

/// A directory that is removed when this is dropped, and by the next
/// [`sweep`] if the process is killed first.
#[derive(Debug)]
pub(in crate::image) struct Scratch {
    path: PathBuf,
    /// Held for as long as the directory is in use.
    _lock: FileLock,
}

impl Scratch {
    /// A new, empty one in `parent`.
    pub(super) fn new(parent: &Path, locking: Locking) -> io::Result<Self> {
        loop {
            let path = parent.join(format!("work-{}", uuid()));
            // The lock comes first: there is never a directory that nobody holds.
            let Some(lock) = FileLock::try_take(&lock_path(&path), locking)? else {
                continue;
            };
            fs::create_dir(&path)?;
            return Ok(Self { path, _lock: lock });
        }
    }

    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }
}

/// What no other has.
fn uuid() -> String {
    let [high, low] = [(); 2].map(|()| RandomState::new().hash_one(std::process::id()));
    format!("{high:016x}{low:016x}")
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a temporary directory");
        }
    }
}

/// Removes what processes left in `parent` that were killed while they worked.
pub(super) fn sweep(parent: &Path, locking: Locking) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        // A directory, its lock, or what is left of either.
        let Some(name) = name.to_str().and_then(|name| name.split('.').next()) else {
            continue;
        };
        let path = parent.join(name);
        let Some(lock) = FileLock::try_take(&lock_path(&path), locking)? else {
            continue;
        };
        remove_all(&path)?;
        drop(lock);
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Beside the directory, so that removing the one does not touch the other.
fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Removes a tree, directories that their owner may not write or read included:
/// images are full of them.
pub(in crate::image) fn remove_all(path: &Path) -> io::Result<()> {
    let refused = match ignore_missing(fs::remove_dir_all(path)) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    unlock(path).map_err(|_| refused)?;
    ignore_missing(fs::remove_dir_all(path))
}

/// How much room a directory takes, in bytes, that others may write to: what cannot be read is
/// left out.
pub(in crate::image) fn size_of(path: &Path) -> u64 {
    /// Source: `stat(2)`.
    const BLOCK: u64 = 512;
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.blocks() * BLOCK,
            Err(_) => 0,
        })
        .sum()
}

fn unlock(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Locking; 2] = [Locking::Flock, Locking::Lease];

    #[test]
    fn directories_without_permissions_are_removed() {
        for locking in KINDS {
            let parent = tempfile::tempdir().unwrap();
            let scratch = Scratch::new(parent.path(), locking).unwrap();
            let locked = scratch.path().join("a/b");
            fs::create_dir_all(&locked).unwrap();
            fs::write(locked.join("file"), "x").unwrap();
            fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();
            fs::set_permissions(locked.parent().unwrap(), Permissions::from_mode(0o500)).unwrap();
            drop(scratch);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        for locking in KINDS {
            let parent = tempfile::tempdir().unwrap();
            let held = Scratch::new(parent.path(), locking).unwrap();
            let abandoned = parent.path().join("work-abandoned");
            fs::create_dir(&abandoned).unwrap();
            fs::write(abandoned.join("file"), "").unwrap();
            sweep(parent.path(), locking).unwrap();
            assert!(held.path().exists());
            assert!(!abandoned.exists());
            drop(held);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
    }
}
