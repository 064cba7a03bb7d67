//! Directories for work in progress, which nothing survives in.

use std::fs::{self, DirBuilder, DirEntry, Metadata, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use apptainer_sys::state::host_name;

use crate::lock::{FileLock, Locking};

/// A directory that is removed when this is dropped, and by the next
/// [`sweep`] if the process is killed first.
#[derive(Debug)]
pub(in crate::image) struct Scratch {
    path: PathBuf,
    /// Held for as long as the directory is in use.
    _lock: FileLock,
}

impl Scratch {
    /// A new, empty one in `parent`.
    pub(super) fn new(parent: &Path, locking: Locking) -> io::Result<Self> {
        loop {
            let path = unheld(parent);
            // The lock comes first: there is never a directory that nobody holds.
            let Some(lock) = FileLock::try_take(&lock_path(&path), locking)? else {
                continue;
            };
            create_private(&path)?;
            return Ok(Self { path, _lock: lock });
        }
    }

    /// A new, empty one in a directory of this user's that is made in `parent`, which is not a
    /// store's.
    pub(in crate::image) fn of_this_user(parent: &Path) -> io::Result<Self> {
        let user = nix::unistd::geteuid();
        // Locks are asked for between the processes of one node.
        let host = host_name()?;
        let name = format!("apptainer-rs-{user}-{}", host.to_string_lossy());
        let folder = parent.join(name);
        let made = DirBuilder::new().mode(0o700).create(&folder);
        let made = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        let found = made.and_then(|()| fs::symlink_metadata(&folder))?;
        if !found.is_dir() || found.uid() != user.as_raw() || found.mode() & 0o022 != 0 {
            let what = format!("{} is not this user's alone", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let locking = Locking::on_this_node(&folder)?;
        sweep(&folder, locking)?;
        Self::new(&folder, locking)
    }

    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory that nobody but its owner can write to, whatever the umask says.
pub(in crate::image) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

/// A path in `parent` that no other has, nor holds: what is there is removed by the next
/// [`sweep`].
pub(super) fn unheld(parent: &Path) -> PathBuf {
    parent.join(format!("work-{}", uuid()))
}

/// What no other has.
fn uuid() -> String {
    let [high, low] = [(); 2].map(|()| RandomState::new().hash_one(std::process::id()));
    format!("{high:016x}{low:016x}")
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a temporary directory");
        }
    }
}

/// Removes what processes left in `parent` that were killed while they worked.
pub(super) fn sweep(parent: &Path, locking: Locking) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        // What was started by who was killed may still write there: the next comes to it.
        if let Err(error) = sweep_one(parent, &entry, locking) {
            tracing::debug!(%error, path = %entry.path().display(), "what is left cannot be removed yet");
        }
    }
    Ok(())
}

/// A directory, its lock, or what is left of either.
fn sweep_one(parent: &Path, entry: &DirEntry, locking: Locking) -> io::Result<()> {
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        return Ok(());
    };
    let (name, rest) = name.split_once('.').unwrap_or((name, ""));
    // A lease that was being made.
    if rest.starts_with("lock.lease.") && is_left(&entry.metadata()?) {
        ignore_missing(fs::remove_dir_all(entry.path()))?;
    }
    let path = parent.join(name);
    if let Some(_lock) = FileLock::try_take(&lock_path(&path), locking)? {
        remove_all(&path)?;
    }
    Ok(())
}

/// Whether whoever makes something small, and renames it when it is finished, was killed
/// meanwhile.
pub(super) fn is_left(found: &Metadata) -> bool {
    const MAKING: Duration = Duration::from_secs(60);
    let age = found.modified().map(|time| time.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age > MAKING))
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
    let unlocked = unlock(path).and_then(|()| ignore_missing(fs::remove_dir_all(path)));
    match unlocked {
        Ok(()) => Ok(()),
        Err(_) if remove_as_root_of_a_namespace(path) => Ok(()),
        Err(_) => Err(refused),
    }
}

/// Removes a tree in which files belong to users of whom this one is given the numbers in
/// `/etc/subuid`, as a build leaves that was killed in the middle. Whether that could be done.
fn remove_as_root_of_a_namespace(path: &Path) -> bool {
    let removed = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "--"])
        .args(["rm", "-rf", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    removed.is_ok_and(|status| status.success())
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
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    const KINDS: [Locking; 2] = [Locking::Flock, Locking::Lease];

    #[test]
    fn directories_without_permissions_are_removed() {
        for locking in KINDS {
            let parent = tempfile::tempdir().unwrap();
            let scratch = Scratch::new(parent.path(), locking).unwrap();
            let locked = scratch.path().join("a/b");
            fs::create_dir_all(&locked).unwrap();
            fs::write(locked.join("file"), "x").unwrap();
            fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();
            fs::set_permissions(locked.parent().unwrap(), Permissions::from_mode(0o500)).unwrap();
            drop(scratch);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn one_that_cannot_be_swept_does_not_keep_the_others() {
        for locking in KINDS {
            let parent = tempfile::tempdir().unwrap();
            let [bad, good] = ["work-bad", "work-good"].map(|name| parent.path().join(name));
            // In the place of the lock, where none can be taken.
            fs::create_dir_all(bad.with_extension("lock")).unwrap();
            fs::write(bad.with_extension("lock.lease"), "").unwrap();
            fs::create_dir(&good).unwrap();
            sweep(parent.path(), locking).unwrap();
            assert!(!good.exists());
        }
    }

    #[test]
    fn a_lease_that_was_being_made_is_swept_when_it_is_old() {
        let parent = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| {
            let path = parent.path().join(format!("work-{name}.lock.lease.abc"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("token"), "").unwrap();
            path
        });
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(&old).unwrap().set_modified(long_ago).unwrap();
        sweep(parent.path(), Locking::Lease).unwrap();
        assert!(!old.exists());
        assert!(new.exists());
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        for locking in KINDS {
            let parent = tempfile::tempdir().unwrap();
            let held = Scratch::new(parent.path(), locking).unwrap();
            let abandoned = parent.path().join("work-abandoned");
            fs::create_dir(&abandoned).unwrap();
            fs::write(abandoned.join("file"), "").unwrap();
            sweep(parent.path(), locking).unwrap();
            assert!(held.path().exists());
            assert!(!abandoned.exists());
            drop(held);
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        }
    }
}
