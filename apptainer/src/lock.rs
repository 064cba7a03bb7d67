//! Locks that are files, of which nothing stays behind.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A lock that one has at a time, between threads and processes. Dropped, it is free, and
/// its file is gone.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    file: Option<File>,
}

impl FileLock {
    /// Takes the lock at this path, whose folder is there; `None` when somebody has it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let path = path.to_owned();
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!(path = %path.display(), "this file system knows no locks: doing the same thing twice at the same time is not safe here");
                    return Ok(Some(Self { path, file: None }));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if is_at(&file, &path)? {
                return Ok(Some(Self {
                    path,
                    file: Some(file),
                }));
            }
            // Whoever had it before has removed the file that we had opened.
        }
    }

    /// Writes something for others to read into its file.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        // Whoever was killed with it has left something there.
        file.set_len(0)?;
        file.write_all_at(bytes, 0)
    }
}

/// Whether an open file is still the one at a path.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // While it is locked, so that nobody else's is removed.
        let _ = fs::remove_file(&self.path);
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let first = FileLock::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(FileLock::try_take(&path).unwrap().is_none());
        let other = folder.path().join("db");
        assert!(FileLock::try_take(&other).unwrap().is_some());
        drop(first);
        assert!(FileLock::try_take(&path).unwrap().is_some());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn many_threads_never_hold_one_lock_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let holders = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Some(lock) = FileLock::try_take(&path).unwrap() {
                            let others = holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            assert_eq!(others, 0);
                            holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
    }
}
