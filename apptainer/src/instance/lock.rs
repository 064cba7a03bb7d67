//! One start at a time for a name.
//!
//! Apptainer starts two instances of one name at the same time, and the one that
//! loses takes the other's record away: that one then runs on, and nothing lists
//! it. The locks lie beside Apptainer's records, so whoever shares those shares
//! the locks too.

use std::{fs, io};

use apptainer_sys::state::{ConfigDir, host_name};

use crate::lock::{FileLock, Locking};

/// Takes the lock that is held while an instance of this name is being started; `None` when
/// somebody has it.
pub(super) fn try_lock(config: &ConfigDir, name: &str) -> io::Result<Option<FileLock>> {
    let starting = config.path().join("apptainer-rs/starting");
    let folder = starting.join(host_name()?);
    fs::create_dir_all(&folder)?;
    // The folder is this node's own, so that it does not matter whether others see its locks.
    let locking = Locking::on_this_node(&folder)?;
    FileLock::try_take(&folder.join(name), locking)
}
