//! Folders that nobody else may enter, and taking folders away.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a folder, with those above it, where it is not there; says whether it is this user's, and
/// nobody else may enter it.
pub(crate) fn make_private(folder: &Path) -> io::Result<bool> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder)?;
    let found = fs::metadata(folder)?;
    let is_ours = found.uid() == nix::unistd::geteuid().as_raw();
    let is_open = found.permissions().mode() & 0o077 != 0;
    Ok(is_ours && !is_open)
}

/// The same where others may write to what it lies in: it may not be a link either, which they
/// could have made.
pub(crate) fn make_private_among_others(folder: &Path) -> io::Result<bool> {
    let is_link = fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink());
    Ok(!is_link && make_private(folder)?)
}

/// Removes a folder with all that is in it, also what was closed to its user, and what root in a
/// container of this user's has given to others of its users. That it is not there is no error.
pub(crate) fn remove_all(folder: &Path) -> io::Result<()> {
    let remove = || match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let is_refused = |removed: &io::Result<()>| {
        let refused = removed.as_ref().err();
        refused.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let mut removed = remove();
    if is_refused(&removed) {
        open(folder);
        removed = remove();
    }
    if is_refused(&removed) && remove_as_root_within(folder)? {
        removed = remove();
    }
    removed
}

/// Lets its user enter the folders below one, as far as they are this user's.
fn open(folder: &Path) {
    // What it cannot do, the removal meets again.
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open(&entry.path());
        }
    }
}

/// Removes a folder as root of a user namespace that has all of this user's ids; says whether
/// there is a program that can.
fn remove_as_root_within(folder: &Path) -> io::Result<bool> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let status = unshare
        .arg(folder)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        status => status.map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_removed_too() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("a/work");
        fs::create_dir_all(closed.join("b")).unwrap();
        for path in [closed.join("b"), closed] {
            fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
        }
        remove_all(&folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists());
        remove_all(&folder.path().join("a")).unwrap();
    }
}
