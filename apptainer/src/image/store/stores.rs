//! All stores that images are looked for in.

use std::io;
use std::path::{Path, PathBuf};

use apptainer_sys::sif::{Sif, SifError};

use super::access::Access;
use super::handle::take_away;
use super::in_use::{InUse, Unused};
use super::key::Key;
use super::layout::{Form, Root};
use super::record::{self, NameRecord, now_millis};
use super::scratch::Scratch;
use super::store_error;
use crate::image::{ImageError, Locking};

/// A store of one's own, and those of others under it.
#[derive(Debug)]
pub(crate) struct Stores {
    path: PathBuf,
    ours: Option<Root>,
    others: Vec<Root>,
}

impl Stores {
    /// The store at `path`, over the shared ones; made if it is not there, and rid of what
    /// killed processes left in it.
    pub(crate) fn open(
        path: &Path,
        shared: &[PathBuf],
        access: &Access,
        locking: Option<Locking>,
    ) -> Result<Self, ImageError> {
        let found = access.own(path)?;
        let ours = found.ours.map(|ours| ours.settle(locking)).transpose()?;
        if let Some(ours) = &ours {
            ours.prepare()?;
        }
        let mut others = found.others;
        for path in shared {
            match access.shared(path) {
                Ok(roots) => others.extend(roots),
                Err(ImageError::Store { path, source }) => {
                    tracing::warn!(%source, path = %path.display(), "a shared image store is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            path: path.to_owned(),
            ours,
            others,
        })
    }

    /// Whether one's own is still there as it was opened: somebody may have cleared it away.
    pub(crate) fn are_there(&self) -> bool {
        self.ours.as_ref().is_none_or(Root::is_there)
    }

    /// The one that is written to.
    pub(in crate::image) fn ours(&self) -> Result<&Root, ImageError> {
        self.ours.as_ref().ok_or_else(|| ImageError::ReadOnlyStore {
            path: self.path.clone(),
        })
    }

    /// All of them, and whether they are somebody else's.
    pub(super) fn with_origin(&self) -> impl Iterator<Item = (&Root, bool)> {
        let ours = self.ours.iter().map(|root| (root, false));
        ours.chain(self.others.iter().map(|root| (root, true)))
    }

    fn all(&self) -> impl Iterator<Item = &Root> {
        self.ours.iter().chain(&self.others)
    }

    /// The whole entry under a key, taken into use.
    pub(in crate::image) fn find(
        &self,
        form: Form,
        key: &Key,
    ) -> Result<Option<InUse>, ImageError> {
        for root in self.all() {
            let folder = root.entry(form, key);
            match look(form, &folder) {
                Ok(Some(entry)) => return Ok(Some(entry)),
                Ok(None) => {}
                // In a store of somebody else's that may be so.
                Err(error) if Some(root) != self.ours.as_ref() => {
                    tracing::debug!(%error, path = %folder.display(), "an image cannot be used");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What a reference led to when it was last asked for.
    pub(in crate::image) fn name(&self, key: &Key) -> Option<NameRecord> {
        let records = self
            .all()
            .filter_map(|root| record::read(&root.name(key)).ok().flatten());
        let now = now_millis();
        // What is still to come is a clock's that was set back, and counts least.
        records.max_by_key(|record: &NameRecord| (record.asked <= now, record.asked))
    }

    /// Notes what a reference has led to.
    pub(in crate::image) fn write_name(
        &self,
        key: &Key,
        record: &NameRecord,
    ) -> Result<(), ImageError> {
        let path = self.ours()?.name(key);
        record::replace(&path, record).map_err(store_error(&path))
    }

    /// Makes room for an entry that is not there whole: takes away what is left of a damaged one.
    /// One that is whole by now stays.
    pub(in crate::image) fn make_room(
        &self,
        form: Form,
        key: &Key,
        scratch: &Scratch,
    ) -> Result<(), ImageError> {
        let path = self.ours()?.entry(form, key);
        let entry = InUse::take(&path).map_err(store_error(&path))?;
        if let Some(entry) = entry
            && damage(form, &entry)?.is_none()
        {
            return Ok(());
        }
        match std::fs::rename(&path, scratch.path().join("damaged")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved.map_err(store_error(&path)),
        }
    }

    /// Takes an entry away that turned out not to be needed, unless somebody uses it.
    pub(in crate::image) fn discard(&self, form: Form, key: &Key) -> Result<(), ImageError> {
        let root = self.ours()?;
        let path = root.entry(form, key);
        // Nobody has come to know of it that could use it on another node.
        match Unused::take(&path, Locking::Flock) {
            Ok(Some(unused)) => take_away(root, &path, unused),
            Ok(None) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(store_error(&path))
    }
}

/// The whole entry in a directory, taken into use.
fn look(form: Form, folder: &Path) -> Result<Option<InUse>, ImageError> {
    let Some(entry) = InUse::take(folder).map_err(store_error(folder))? else {
        return Ok(None);
    };
    match damage(form, &entry)? {
        None => Ok(Some(entry)),
        Some(reason) => {
            tracing::warn!(reason, path = %folder.display(), "an image in the store is damaged");
            Ok(None)
        }
    }
}

/// What is wrong with what is in an entry, as far as a look at it tells. That it cannot be looked
/// at now is an error.
fn damage(form: Form, entry: &InUse) -> Result<Option<String>, ImageError> {
    let path = entry.path(form.content());
    let looked = match form {
        Form::Sif => match Sif::open(&path) {
            // Such a file is no whole one, whatever it was.
            Err(SifError::Read(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(error)
            }
            opened => return Ok(opened.err().map(|error| error.to_string())),
        },
        Form::Sandbox => std::fs::symlink_metadata(&path).map(drop),
    };
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(error.to_string())),
        looked => looked.map(|()| None).map_err(store_error(&path)),
    }
}
