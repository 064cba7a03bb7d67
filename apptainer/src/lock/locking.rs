//! Which kind of lock counts.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::detect;

/// Which kind of lock counts in a place, for all that use it.
///
/// On a file system that several nodes share, all of them have to use the same kind.
///
/// ```
/// use apptainer::image::Locking;
///
/// let folder = std::env::temp_dir();
/// if Locking::detect(&folder)? == Locking::Lease {
///     println!("a killed process keeps others waiting for a minute here");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Locking {
    /// The kernel's locks, flock(2), which the file system passes on to all nodes. They are free
    /// at once when their holder is killed.
    Flock,
    /// Files that their holder renews, for file systems whose locks count on one node only, or
    /// that have none. They are free a minute after their holder was killed, or stopped.
    Lease,
}

impl Locking {
    /// Finds out which kind counts in this folder, on all nodes that share its file system. It
    /// writes there for a moment, and blocks.
    ///
    /// What is known of a kind of file system and its mount options decides. Where it is not
    /// known whether its locks count everywhere, as with one in user space, it is a lease.
    ///
    /// # Errors
    ///
    /// The folder is not there, or cannot be written to.
    pub fn detect(folder: &Path) -> io::Result<Self> {
        let counts = detect::has_flock(folder)? && detect::is_passed_on(folder)?;
        Ok(if counts { Self::Flock } else { Self::Lease })
    }

    /// Which kind counts in this folder between the processes of this node, which is asked once
    /// for each folder.
    pub(crate) fn on_this_node(folder: &Path) -> io::Result<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Locking>>> = LazyLock::new(Mutex::default);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(locking) = known().get(folder) {
            return Ok(*locking);
        }
        let locking = if detect::has_flock(folder)? {
            Self::Flock
        } else {
            Self::Lease
        };
        known().insert(folder.to_owned(), locking);
        Ok(locking)
    }
}
