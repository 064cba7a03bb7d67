//! All stores that images are looked for in.

use std::path::{Path, PathBuf};

use apptainer_sys::sif::Sif;

use super::access::Access;
use super::in_use::InUse;
use super::key::Key;
use super::layout::{Form, Root};
use super::record::{self, NameRecord};
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
            let found = match InUse::take(&folder) {
                Ok(found) => found,
                // In a store of somebody else's that may be so.
                Err(error) if Some(root) != self.ours.as_ref() => {
                    tracing::debug!(%error, path = %folder.display(), "an image cannot be used");
                    None
                }
                Err(error) => return Err(store_error(&folder)(error)),
            };
            let Some(entry) = found else { continue };
            match is_whole(form, &entry) {
                Ok(()) => return Ok(Some(entry)),
                Err(error) => {
                    tracing::warn!(%error, "an image in the store is damaged");
                }
            }
        }
        Ok(None)
    }

    /// What a reference led to when it was last asked for.
    pub(in crate::image) fn name(&self, key: &Key) -> Option<NameRecord> {
        let records = self
            .all()
            .filter_map(|root| record::read(&root.name(key)).ok().flatten());
        records.max_by_key(|record: &NameRecord| record.asked)
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
    pub(in crate::image) fn make_room(
        &self,
        form: Form,
        key: &Key,
        scratch: &Scratch,
    ) -> Result<(), ImageError> {
        let path = self.ours()?.entry(form, key);
        match std::fs::rename(&path, scratch.path().join("damaged")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            moved => moved.map_err(store_error(&path)),
        }
    }
}

/// Whether what is in an entry can be used, as far as a look at it tells.
fn is_whole(form: Form, entry: &InUse) -> Result<(), ImageError> {
    let path = entry.path(form.content());
    match form {
        Form::Sif => match Sif::open(&path) {
            Ok(_) => Ok(()),
            Err(source) => Err(ImageError::Invalid { path, source }),
        },
        Form::Sandbox => std::fs::symlink_metadata(&path)
            .map(drop)
            .map_err(store_error(&path)),
    }
}
