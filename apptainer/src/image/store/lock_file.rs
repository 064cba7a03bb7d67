//! Locks of a store, with the name of whoever has them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apptainer_sys::state::host_name;
use serde::{Deserialize, Serialize};

use crate::lock::{FileLock, Locking};

/// Where a lock is, and of which kind.
#[derive(Debug, Clone)]
pub(in crate::image) struct LockFile {
    path: PathBuf,
    locking: Locking,
}

/// The process that does what others wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The machine that it runs on.
    pub host: String,
    /// Its pid there.
    pub pid: u32,
}

impl LockFile {
    pub(super) fn new(path: PathBuf, locking: Locking) -> Self {
        Self { path, locking }
    }

    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock with our name in it; or who has it, where that can be read.
    pub(in crate::image) fn try_take(&self) -> io::Result<Result<FileLock, Option<Holder>>> {
        if let Some(lock) = self.try_hold()? {
            lock.write(&serde_json::to_vec(&Holder::me())?)?;
            return Ok(Ok(lock));
        }
        Ok(Err(self.holder()))
    }

    /// The lock without a name in it, which is to be had where there is no room left; `None`
    /// when somebody has it.
    pub(in crate::image) fn try_hold(&self) -> io::Result<Option<FileLock>> {
        FileLock::try_take(&self.path, self.locking)
    }

    /// Who has it, where that can be read: it may be just being written, or have been removed.
    pub(super) fn holder(&self) -> Option<Holder> {
        let written = FileLock::read(&self.path, self.locking).ok()?;
        serde_json::from_slice(&written).ok()
    }

    /// How long to wait at most before looking again whether it is free. To look at a lease
    /// takes a file.
    pub(in crate::image) fn longest_pause(&self) -> Duration {
        match self.locking {
            Locking::Flock => Duration::from_millis(200),
            Locking::Lease => Duration::from_secs(1),
        }
    }
}

impl Holder {
    pub(in crate::image) fn me() -> Self {
        let host = host_name().unwrap_or_default();
        Self {
            host: host.to_string_lossy().into_owned(),
            pid: std::process::id(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}
