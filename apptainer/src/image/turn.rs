//! Whose turn it is to fill an entry.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use apptainer_sys::state::host_name;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::progress::Listener;
use super::store::{Key, Store, store_error};
use super::{ImageError, Reference, deadline};
use crate::blocking::blocking;
use crate::lock::{FileLock, Locking};

/// The right to fill an entry, which one has at a time of all threads and processes that use
/// the store. It ends when this is dropped, or the process is killed.
///
/// Between machines that share a store it holds where their file system has locks that count
/// on all of them: NFS has, Lustre where it is mounted with `flock`.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: FileLock,
    /// Within this process, where one wakes the next.
    _local: OwnedMutexGuard<()>,
}

/// The process that fetches an image which others wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The machine that it runs on.
    pub host: String,
    /// Its pid there.
    pub pid: u32,
}

/// The kind of lock that a store has.
const LOCKING: Locking = Locking::Flock;

/// How long to wait before looking again whether another process has finished.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Turn {
    /// Waits for it, so long at most.
    ///
    /// Cancel-safe.
    pub(super) async fn take(
        store: &Store,
        key: &Key,
        reference: &Reference,
        limit: Duration,
        listener: &Listener,
    ) -> Result<Self, ImageError> {
        let path = store.lock(key);
        let deadline = deadline(limit);
        let held = || ImageError::Held {
            reference: reference.to_string(),
            holder: Holder::of(&path).unwrap_or_else(Holder::me),
            limit,
        };
        let local = local(&path).lock_owned();
        let Ok(local) = tokio::time::timeout_at(deadline, local).await else {
            return Err(held());
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let at = path.clone();
            let taken = blocking(move || try_take(&at)).await;
            let holder = match taken.map_err(store_error(&path))? {
                Ok(lock) => {
                    return Ok(Self {
                        _lock: lock,
                        _local: local,
                    });
                }
                Err(holder) => holder,
            };
            if Instant::now() + pause > deadline {
                return Err(held());
            }
            listener.wait_for(holder);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What is held within this process by whoever has the lock at this path, or waits for it.
fn local(path: &Path) -> Arc<tokio::sync::Mutex<()>> {
    type Turns = HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>;
    static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    let turn = turns.entry(path.to_owned()).or_default();
    turn.upgrade().unwrap_or_else(|| {
        let fresh = Arc::default();
        *turn = Arc::downgrade(&fresh);
        fresh
    })
}

/// The lock at this path with our name in it; or who has it, where that can be read.
fn try_take(path: &Path) -> io::Result<Result<FileLock, Option<Holder>>> {
    if let Some(lock) = FileLock::try_take(path, LOCKING)? {
        lock.write(&serde_json::to_vec(&Holder::me())?)?;
        return Ok(Ok(lock));
    }
    Ok(Err(Holder::of(path)))
}

impl Holder {
    /// Who has the lock at this path, where that can be read: it may be just being written, or
    /// have been removed.
    fn of(path: &Path) -> Option<Self> {
        let written = FileLock::read(path, LOCKING).ok()?;
        serde_json::from_slice(&written).ok()
    }

    fn me() -> Self {
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
