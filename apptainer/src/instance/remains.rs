//! What an instance leaves on disk, and what a start that was cut off leaves.

use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};

use apptainer_sys::state::ConfigDir;
use apptainer_sys::state::instance::{Record, Records};

use serde::{Deserialize, Serialize};

use super::lock::try_lock;
use super::logs;
use super::processes::Processes;
use crate::lock::FileLock;

/// What an instance leaves on disk.
#[derive(Debug, Clone)]
pub(super) struct Remains {
    records: Records,
    name: String,
    naming: Naming,
}

/// Who chose an instance's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Naming {
    /// The caller, who may want to read its logs when it is over.
    Given,
    /// We: nobody could find its logs.
    Generated,
}

impl Remains {
    pub(super) fn new(records: Records, name: &str, naming: Naming) -> Self {
        Self {
            records,
            name: name.to_owned(),
            naming,
        }
    }

    /// Removes the record, which a master that was killed leaves, and the logs
    /// that nobody could find.
    ///
    /// Whoever has begun to start another of this name has the name's lock: then
    /// the record is theirs to replace.
    pub(super) fn clear(&self, config: &ConfigDir) {
        if let Ok(Some(_lock)) = try_lock(config, &self.name) {
            // One that cannot be read is being written, past our lock.
            let is_over = self.records.read(&self.name).is_ok_and(is_over);
            if is_over {
                self.clear_record();
            }
        }
        self.clear_logs();
    }

    /// The same for whoever has the lock.
    pub(super) fn clear_locked(&self) {
        // One that cannot be read is what we killed in the middle of writing it.
        if self.records.read(&self.name).map_or(true, is_over) {
            self.clear_record();
        }
        self.clear_logs();
    }

    fn clear_record(&self) {
        let _ = fs::remove_dir_all(self.records.folder(&self.name));
    }

    pub(super) fn clear_logs(&self) {
        if self.naming == Naming::Generated {
            logs::remove(&self.records.logs(&self.name));
        }
    }

    /// Ends the instance, if it runs by now.
    fn end(&self) -> io::Result<()> {
        let Ok(Some(record)) = self.records.read(&self.name) else {
            return Ok(());
        };
        match Processes::of(&record)? {
            Some(processes) => processes.end_blocking(),
            None => Ok(()),
        }
    }
}

/// A start that is under way. Dropped before it is [finished](Self::finish), it
/// ends what has been started by then, and only then lets go of the name.
#[derive(Debug)]
pub(super) struct Starting {
    remains: Remains,
    lock: Mutex<Option<FileLock>>,
}

impl Starting {
    pub(super) fn new(remains: Remains, lock: FileLock) -> Self {
        Self {
            remains,
            lock: Mutex::new(Some(lock)),
        }
    }

    /// There is an instance now, and somebody who has it.
    pub(super) fn finish(&self) {
        self.lock().take();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<FileLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(_lock) = self.lock().take() else {
            return;
        };
        if let Err(error) = self.remains.end() {
            tracing::warn!(%error, name = self.remains.name, "cannot end an instance whose start was cut off");
        }
        self.remains.clear_locked();
    }
}

/// Whether a record tells of nothing that runs.
fn is_over(record: Option<Record>) -> bool {
    record.is_none_or(|record| record.is_running().is_ok_and(|runs| !runs))
}
