//! All files of a root file system, in an order that does not change.

use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::ExportError;
use super::error::read_error;
use super::rootfs::RootFs;

/// A file of a root file system.
pub(super) struct Entry {
    /// Its path within that; empty for the root itself.
    pub(super) path: PathBuf,
    /// Its path on this machine.
    pub(super) full: PathBuf,
    pub(super) metadata: Metadata,
}

/// Goes through a tree: a directory before what is in it, by name.
pub(super) struct Tree<'a> {
    root: &'a RootFs,
    /// The next one last.
    pending: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    pub(super) fn of(root: &'a RootFs) -> Self {
        Self {
            root,
            pending: vec![PathBuf::new()],
        }
    }

    fn visit(&mut self, path: PathBuf) -> Result<Entry, ExportError> {
        // Joined with nothing, a path would end in a slash.
        let full = if path.as_os_str().is_empty() {
            self.root.path.clone()
        } else {
            self.root.path.join(&path)
        };
        let metadata = full.symlink_metadata().map_err(read_error(&full))?;
        if metadata.is_dir() {
            let names = self.names(&full).map_err(read_error(&full))?;
            let paths = names.into_iter().rev().map(|name| path.join(name));
            self.pending.extend(paths);
        }
        Ok(Entry {
            path,
            full,
            metadata,
        })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let entries = unlocked(self.root, folder, 0o500, || fs::read_dir(folder))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
        names.sort_unstable();
        Ok(names)
    }
}

impl Iterator for Tree<'_> {
    type Item = Result<Entry, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.pending.pop()?;
        Some(self.visit(path))
    }
}

/// Opens something at `path`, which is given the mode `mode` first where it is ours and its own
/// does not let us.
pub(super) fn unlocked<T>(
    root: &RootFs,
    path: &Path,
    mode: u32,
    open: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    // A directory that is read may still not be entered.
    let is_locked =
        || -> io::Result<bool> { Ok(path.symlink_metadata()?.permissions().mode() & mode != mode) };
    if root.is_ours && is_locked()? {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    open()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &RootFs) -> Vec<String> {
        let path = |entry: Result<Entry, _>| entry.unwrap().path.display().to_string();
        Tree::of(root).map(path).collect()
    }

    #[test]
    fn directories_come_before_what_is_in_them_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = RootFs {
            path: folder.path().to_owned(),
            ..RootFs::default()
        };
        for path in ["b", "a/d", "a/c/e"] {
            fs::create_dir_all(root.path.join(path)).unwrap();
        }
        fs::write(root.path.join("a.b"), "").unwrap();
        std::os::unix::fs::symlink("a", root.path.join("z")).unwrap();
        assert_eq!(
            paths(&root),
            ["", "a", "a/c", "a/c/e", "a/d", "a.b", "b", "z"]
        );
    }

    #[test]
    fn what_is_locked_is_read_where_it_is_ours() {
        if nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut root = RootFs {
            path: folder.path().to_owned(),
            ..RootFs::default()
        };
        let locked = root.path.join("a");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("b"), "").unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o0)).unwrap();
        let failed = |entry: Result<Entry, _>| match entry {
            Err(ExportError::Read { path, .. }) => Some(path),
            _ => None,
        };
        assert_eq!(Tree::of(&root).find_map(failed), Some(locked.clone()));
        root.is_ours = true;
        let mode = |entry: Entry| entry.metadata.permissions().mode() & 0o777;
        let modes: Vec<_> = Tree::of(&root).map(|entry| mode(entry.unwrap())).collect();
        assert_eq!(modes[1], 0, "as it was");
        assert_eq!(modes.len(), 3);
    }
}
