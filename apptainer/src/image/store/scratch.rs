//! Directories for work in progress, which nothing survives in.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that is removed when this is dropped, and by the next
/// [`sweep`] if the process is killed first.
#[derive(Debug)]
pub(in crate::image) struct Scratch {
    path: PathBuf,
    /// Held for as long as the directory is in use.
    _lock: File,
}

impl Scratch {
    /// A new, empty one in `parent`.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        // The lock comes first: there is never a directory that nobody holds.
        let (lock, lock_path) = loop {
            let (lock, lock_path) = tempfile::Builder::new()
                .prefix("work-")
                .suffix(".lock")
                .tempfile_in(parent)?
                .keep()?;
            lock.lock()?;
            // Before it was held, somebody may have swept it away.
            if lock_path.try_exists()? {
                break (lock, lock_path);
            }
        };
        let path = lock_path.with_extension("");
        fs::create_dir(&path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a temporary directory");
        }
        let _ = fs::remove_file(lock_path(&self.path));
    }
}

/// Removes what processes left in `parent` that were killed while they worked.
pub(super) fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let lock_path = entry?.path();
        if lock_path.extension() != Some("lock".as_ref()) {
            continue;
        }
        let lock = match File::options().write(true).open(&lock_path) {
            Ok(lock) => lock,
            // Its owner has just finished.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => {
                remove_all(&lock_path.with_extension(""))?;
                ignore_missing(fs::remove_file(&lock_path))?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
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

    #[test]
    fn directories_without_permissions_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        let locked = scratch.path().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("file"), "x").unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(locked.parent().unwrap(), Permissions::from_mode(0o500)).unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let held = Scratch::new(parent.path()).unwrap();
        let abandoned = parent.path().join("work-abandoned");
        fs::create_dir(&abandoned).unwrap();
        fs::write(lock_path(&abandoned), "").unwrap();
        sweep(parent.path()).unwrap();
        assert!(held.path().exists());
        assert!(!abandoned.exists());
        drop(held);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
