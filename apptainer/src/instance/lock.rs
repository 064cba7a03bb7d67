//! One start at a time for a name.
//!
//! Apptainer starts two instances of one name at the same time, and the one that
//! loses takes the other's record away: that one then runs on, and nothing lists
//! it. The locks lie beside Apptainer's records, so whoever shares those shares
//! the locks too.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use apptainer_sys::state::{ConfigDir, host_name};

/// Held while an instance is being started.
#[derive(Debug)]
pub(super) struct NameLock {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    file: Option<File>,
}

impl NameLock {
    /// Takes the lock for `name`; `None` when somebody has it.
    pub(super) fn try_take(config: &ConfigDir, name: &str) -> io::Result<Option<Self>> {
        let folder = config
            .path()
            .join("apptainer-rs/starting")
            .join(host_name()?);
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
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
                    tracing::warn!(folder = %folder.display(), "this file system knows no locks: starting instances of one name at the same time is not safe");
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
}

fn is_at(file: &File, path: &PathBuf) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for NameLock {
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
    fn a_name_is_taken_once_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = ConfigDir::at(folder.path());
        let first = NameLock::try_take(&config, "web").unwrap();
        assert!(first.is_some());
        assert!(NameLock::try_take(&config, "web").unwrap().is_none());
        assert!(NameLock::try_take(&config, "db").unwrap().is_some());
        drop(first);
        assert!(NameLock::try_take(&config, "web").unwrap().is_some());
    }

    #[test]
    fn many_threads_never_hold_one_name_together() {
        let folder = tempfile::tempdir().unwrap();
        let config = ConfigDir::at(folder.path());
        let holders = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Some(lock) = NameLock::try_take(&config, "web").unwrap() {
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
