//! A lock that the kernel has, flock(2), at a file that is there for as long as somebody has it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A lock that one has at a time, between threads and processes, and between nodes where the
/// file system passes it on. Dropped, it is free, and its file is gone.
#[derive(Debug)]
pub(super) struct Flock {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    file: Option<File>,
}

impl Flock {
    /// Takes the lock at this path, whose folder is there; `None` when somebody has it.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
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
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        // Whoever was killed with it has left something there.
        file.set_len(0)?;
        file.write_all_at(bytes, 0)
    }
}

/// What whoever has the lock at this path has written.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
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

impl Drop for Flock {
    fn drop(&mut self) {
        // While it is locked, so that nobody else's is removed.
        let _ = fs::remove_file(&self.path);
        self.file = None;
    }
}
