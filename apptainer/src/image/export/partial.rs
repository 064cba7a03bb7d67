//! What is not finished, beside the place where it will be.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::ExportError;
use super::error::write_error;
use crate::image::store::remove_all;

/// A directory next to a target, in which that is made. It is removed when this is dropped.
///
/// A process that is killed outright leaves it: `.export-` and some letters.
#[derive(Debug)]
pub(super) struct Partial {
    folder: PathBuf,
    target: PathBuf,
    existing: Existing,
}

/// What is done with something that is at the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Overwrite,
}

impl Partial {
    /// One for what is to be at `target`.
    pub(super) fn beside(target: &Path, existing: Existing) -> Result<Self, ExportError> {
        let target = std::path::absolute(target).map_err(write_error(target))?;
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            let reason = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(write_error(&target)(reason));
        };
        if existing == Existing::Refuse && is_there(&target) {
            return Err(ExportError::Exists { path: target });
        }
        let folder = tempfile::Builder::new()
            .prefix(".export-")
            .tempdir_in(parent)
            .map_err(write_error(parent))?
            .keep();
        Ok(Self {
            folder,
            target,
            existing,
        })
    }

    /// The path of a piece of work with this name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts the file at `made` in its place.
    pub(super) fn publish_file(&self, made: &Path) -> Result<(), ExportError> {
        match self.existing {
            Existing::Refuse => self.publish_new(made)?,
            Existing::Overwrite => fs::rename(made, &self.target).map_err(self.failed())?,
        }
        self.sync_parent()
    }

    /// Puts the OCI layout at `made` in its place. What it overwrites is one as well, or empty.
    pub(super) fn publish_layout(&self, made: &Path) -> Result<(), ExportError> {
        if self.existing == Existing::Refuse || !is_there(&self.target) {
            self.publish_new(made)?;
        } else if is_layout(&self.target).map_err(self.failed())? {
            self.exchange(made).map_err(self.failed())?;
        } else {
            let path = self.target.clone();
            return Err(ExportError::NotALayout { path });
        }
        self.sync_parent()
    }

    fn publish_new(&self, made: &Path) -> Result<(), ExportError> {
        let exists = || ExportError::Exists {
            path: self.target.clone(),
        };
        match renameat_with(CWD, made, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(exists()),
            // Not every file system can.
            Err(_) if is_there(&self.target) => Err(exists()),
            Err(_) => fs::rename(made, &self.target).map_err(self.failed()),
        }
    }

    /// What was at the target is afterwards in the directory that is removed.
    fn exchange(&self, made: &Path) -> io::Result<()> {
        if renameat_with(CWD, made, CWD, &self.target, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
        let old = self.path("old");
        fs::rename(&self.target, &old)?;
        fs::rename(made, &self.target).inspect_err(|_| {
            let _ = fs::rename(&old, &self.target);
        })
    }

    fn sync_parent(&self) -> Result<(), ExportError> {
        let parent = self.target.parent().unwrap_or(&self.target);
        sync(parent).map_err(write_error(parent))
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> ExportError {
        write_error(&self.target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.folder) {
            tracing::warn!(%error, path = %self.folder.display(), "cannot remove a temporary directory");
        }
    }
}

/// Writes a file, or what a directory lists, to disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn is_layout(path: &Path) -> io::Result<bool> {
    Ok(path.join("oci-layout").is_file() || fs::read_dir(path)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_appeared_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let partial = Partial::beside(&target, Existing::Refuse).unwrap();
        let made = partial.path("made");
        fs::write(&made, "ours").unwrap();
        fs::write(&target, "theirs").unwrap();
        let error = partial.publish_file(&made).unwrap_err();
        assert!(error.is_already_exists(), "{error:?}");
        drop(partial);
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_layout_replaces_a_layout_and_no_other_directory() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        fs::create_dir(&target).unwrap();
        let publish = |content: &str| {
            let partial = Partial::beside(&target, Existing::Overwrite).unwrap();
            let made = partial.path("made");
            fs::create_dir(&made).unwrap();
            fs::write(made.join("oci-layout"), content).unwrap();
            partial.publish_layout(&made)
        };
        for content in ["first", "second"] {
            publish(content).unwrap();
            assert_eq!(
                fs::read(target.join("oci-layout")).unwrap(),
                content.as_bytes()
            );
            assert_eq!(names(folder.path()), ["a"]);
        }
        fs::rename(target.join("oci-layout"), target.join("diary")).unwrap();
        let error = publish("third").unwrap_err();
        assert!(matches!(error, ExportError::NotALayout { .. }), "{error:?}");
        assert_eq!(names(&target), ["diary"]);
    }
}
