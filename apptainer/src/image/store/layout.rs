//! What lies where in a store.
//!
//! ```text
//! STORE/v1/store.json               what all who use the store have to agree on
//! STORE/v1/names/KEY.json             what a reference led to, and when it was asked for
//! STORE/v1/images/KEY/entry.json      what an image is; its time is that of its last use
//! STORE/v1/images/KEY/image.sif       the image
//! STORE/v1/images/KEY/pinned          there where it is not to be pruned
//! STORE/v1/sandboxes/KEY/entry.json   the same of an image extracted, where SIF files
//! STORE/v1/sandboxes/KEY/root/        cannot be run
//! STORE/v1/blobs/DIGEST               layers of images that are not finished
//! STORE/v1/blobs/DIGEST.part          such that have come in part
//! STORE/v1/locks/                     who does what, for as long as it does
//! STORE/v1/work/                      what is not finished, each directory with its lock
//! ```
//!
//! `STORE` is the directory that was chosen; where that is one that many may write to, with the
//! sticky bit, it is the directory in it that is named by the number of the user.
//!
//! An entry is made in `work` and renamed into place, so what is there is whole. Whoever uses
//! one holds a shared lock on its `entry.json`, and whoever takes one away has that lock alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::access::create;
use super::in_use::InUse;
use super::key::Key;
use super::lock_file::LockFile;
use super::scratch::{self, Scratch};
use super::{record, store_error};
use crate::image::{ImageError, Locking};

/// A directory of images, of one user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Root {
    path: PathBuf,
    locking: Locking,
}

/// `store.json`: what all who use a store have to agree on.
#[derive(Debug, Serialize, Deserialize)]
struct StoreRecord {
    locking: Locking,
}

/// What an image in a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// A SIF file.
    Sif,
    /// A directory that a SIF file was extracted into, where such cannot be run.
    Sandbox,
}

const STORE: &str = "store.json";

impl Form {
    pub(super) const ALL: [Self; 2] = [Self::Sif, Self::Sandbox];

    fn folder(self) -> &'static str {
        match self {
            Self::Sif => "images",
            Self::Sandbox => "sandboxes",
        }
    }

    /// The name in an entry of what Apptainer is given to run.
    pub(in crate::image) fn content(self) -> &'static str {
        match self {
            Self::Sif => "image.sif",
            Self::Sandbox => "root",
        }
    }
}

impl Root {
    /// The store in a directory. What kind of lock it has is read, or [chosen](Self::settle).
    pub(super) fn new(store: &Path) -> Self {
        let path = store.join("v1");
        let record = record::read::<StoreRecord>(&path.join(STORE));
        // Of another user's only what is in use is locked, as far as that can be.
        let locking = record
            .ok()
            .flatten()
            .map_or(Locking::Flock, |found| found.locking);
        Self { path, locking }
    }

    /// Chooses the kind of lock, which is what whoever came first chose.
    pub(super) fn settle(mut self, wanted: Option<Locking>) -> Result<Self, ImageError> {
        create(&self.path).map_err(store_error(&self.path))?;
        let path = self.path.join(STORE);
        let settle = || -> io::Result<Locking> {
            if let Some(found) = record::read::<StoreRecord>(&path)? {
                return Ok(found.locking);
            }
            let locking = match wanted {
                Some(locking) => locking,
                None => Locking::detect(&self.path)?,
            };
            record::add(&path, &StoreRecord { locking })?;
            // Somebody else may have been faster.
            let found = record::read::<StoreRecord>(&path)?;
            Ok(found.map_or(locking, |found| found.locking))
        };
        self.locking = settle().map_err(store_error(&path))?;
        if wanted.is_some_and(|wanted| wanted != self.locking) {
            tracing::warn!(store = %self.path.display(), locking = ?self.locking, "an image store has another kind of lock than it is to have");
        }
        Ok(self)
    }

    pub(super) fn locking(&self) -> Locking {
        self.locking
    }

    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn entries(&self, form: Form) -> PathBuf {
        self.path.join(form.folder())
    }

    pub(in crate::image) fn entry(&self, form: Form, key: &Key) -> PathBuf {
        self.entries(form).join(key.as_str())
    }

    pub(super) fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    pub(super) fn name(&self, key: &Key) -> PathBuf {
        self.names().join(format!("{}.json", key.as_str()))
    }

    pub(in crate::image) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.path.join("locks")
    }

    /// What whoever does this holds meanwhile.
    pub(in crate::image) fn lock(&self, doing: &str, what: &str) -> LockFile {
        self.lock_named(&format!("{doing}-{what}"))
    }

    pub(super) fn lock_named(&self, name: &str) -> LockFile {
        LockFile::new(self.locks().join(name), self.locking)
    }

    pub(super) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Makes what is not there, and removes what killed processes left.
    pub(in crate::image) fn prepare(&self) -> Result<(), ImageError> {
        let folders = [self.names(), self.blobs(), self.locks(), self.work()];
        for folder in folders
            .into_iter()
            .chain(Form::ALL.map(|form| self.entries(form)))
        {
            create(&folder).map_err(store_error(&folder))?;
        }
        self.sweep()
    }

    pub(super) fn is_there(&self) -> bool {
        self.path.join(STORE).exists() && self.locks().is_dir()
    }

    pub(super) fn sweep(&self) -> Result<(), ImageError> {
        scratch::sweep(&self.work(), self.locking).map_err(store_error(&self.work()))
    }

    /// A directory to work in.
    pub(in crate::image) fn scratch(&self) -> Result<Scratch, ImageError> {
        Scratch::new(&self.work(), self.locking).map_err(store_error(&self.work()))
    }

    /// Puts the entry that was made at `made` into place, whole or not at all, in use: it could
    /// be taken away as soon as it is there.
    ///
    /// Another process may have been faster; then its is as good, and this is `None`.
    pub(in crate::image) fn publish(
        &self,
        made: &Path,
        form: Form,
        key: &Key,
    ) -> Result<Option<InUse>, ImageError> {
        let entry = self.entry(form, key);
        let publish = || {
            let used = InUse::take(made)?;
            let is_ours = rename_unless_there(made, &entry)?;
            sync(&self.entries(form))?;
            let used = used.map(|used| used.moved_to(entry.clone()));
            Ok(used.filter(|_| is_ours))
        };
        publish().map_err(store_error(&entry))
    }
}

/// Whether it was done.
fn rename_unless_there(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

pub(in crate::image) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::key::Source;
    use super::super::prune::Prune;
    use super::*;
    use crate::image::store::{EntryRecord, write_entry};
    use crate::image::{Conversion, Platform};

    fn make(folder: &Path, source: &Source) {
        let record = EntryRecord {
            reference: "docker://a".into(),
            source: source.clone(),
            platform: Platform::host(),
            conversion: Conversion::default(),
            created: 0,
            size: 0,
            sif: None,
        };
        fs::create_dir(folder).unwrap();
        write_entry(folder, &record).unwrap();
    }

    #[test]
    fn what_is_put_into_place_is_in_use_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.prepare().unwrap();
        let source = Source::Manifest("sha256:a".into());
        let key = Key::of_image(&source, &Platform::host(), Conversion::default());
        let made = folder.path().join("made");
        make(&made, &source);
        let entry = root.publish(&made, Form::Sif, &key).unwrap().unwrap();
        let all = Prune::new().older_than(std::time::Duration::ZERO);
        assert_eq!(all.apply(&root).unwrap().in_use.len(), 1);
        let path = root.entry(Form::Sif, &key).join("image.sif");
        assert_eq!(entry.path("image.sif"), path);
        // Who comes second uses what is there.
        make(&made, &source);
        let second = root.publish(&made, Form::Sif, &key).unwrap();
        assert!(second.is_none());
        drop(entry);
        assert_eq!(all.apply(&root).unwrap().removed.len(), 1);
    }
}
