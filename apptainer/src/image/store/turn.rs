//! Whose turn it is to do what one may do at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::lock_file::LockFile;
use super::{Holder, store_error};
use crate::blocking::blocking;
use crate::image::progress::Listener;
use crate::image::{ImageError, Subject, deadline};
use crate::lock::FileLock;

/// The right to do something in a store, such as to fill an entry, which one has at a time of
/// all threads and processes that use the store. It ends when this is dropped, or the process is killed.
///
/// Between machines that share a store it holds where their file system has locks that count
/// on all of them: NFS has, Lustre where it is mounted with `flock`.
#[derive(Debug)]
pub(in crate::image) struct Turn {
    lock: FileLock,
    /// Within this process, where one wakes the next.
    _local: OwnedMutexGuard<()>,
}

/// How long to wait before looking again whether another process has finished.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

impl Turn {
    /// Waits for it, so long at most.
    ///
    /// Cancel-safe.
    pub(in crate::image) async fn take(
        lock: LockFile,
        subject: Subject<'_>,
        limit: Duration,
        listener: &Listener,
    ) -> Result<Self, ImageError> {
        let deadline = deadline(limit);
        let held = || ImageError::Held {
            reference: subject.to_string(),
            holder: lock.holder().unwrap_or_else(Holder::me),
            limit,
        };
        let local = local(lock.path());
        let local = if let Ok(local) = Arc::clone(&local).try_lock_owned() {
            local
        } else {
            // Another task of this process has it, or waits for it as well.
            listener.wait_for(lock.holder().or_else(|| Some(Holder::me())));
            match tokio::time::timeout_at(deadline, local.lock_owned()).await {
                Ok(local) => local,
                Err(_) => return Err(held()),
            }
        };
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let asked = lock.clone();
            let taken = blocking(move || asked.try_take()).await;
            let holder = match taken.map_err(store_error(lock.path()))? {
                Ok(lock) => {
                    return Ok(Self {
                        lock,
                        _local: local,
                    });
                }
                Err(holder) => holder,
            };
            if Instant::now() + pause > deadline {
                return Err(held());
            }
            // It goes from hand to hand, of others who waited and only look what has been done.
            if holder != last {
                pause = FIRST_PAUSE;
                last.clone_from(&holder);
            }
            listener.wait_for(holder);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(lock.longest_pause());
        }
    }

    /// Whether it still is: where the store has [leases](crate::image::Locking::Lease), one that
    /// could not be renewed is lost.
    pub(in crate::image) fn is_held(&self) -> bool {
        self.lock.is_held()
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
