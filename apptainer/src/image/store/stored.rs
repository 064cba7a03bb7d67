//! Images as a store lists them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::in_use::Unused;
use super::key::{Key, Source};
use super::layout::{Form, Root};
use super::record::{self, ENTRY, EntryRecord, after_epoch};
use crate::image::{Compression, Platform};

/// An image in a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredImage {
    /// What tells it from others in the store, in hexadecimal digits. What was extracted from an
    /// image in the store has the same as that.
    pub id: String,
    /// What it was first asked for as.
    pub reference: String,
    /// The digest of its manifest, if it came from a registry.
    pub digest: Option<String>,
    /// The machines that it is for.
    pub platform: Platform,
    /// What its SIF file was to be compressed with; what Apptainer takes by itself, otherwise.
    pub compression: Option<Compression>,
    /// Whether it is a SIF file, or was extracted.
    pub form: Form,
    /// The SIF file, or the directory.
    pub path: PathBuf,
    /// How much room it takes, in bytes.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last used, to the minute.
    pub last_used: SystemTime,
    /// Whether it is kept, whatever is [pruned](super::Store::prune).
    pub is_pinned: bool,
    /// Whether a process uses it now: one that has an [`Image`](crate::Image) of it, an instance
    /// that runs, or a link.
    ///
    /// Of an image in a shared store, which only its owner takes away, this is not looked at.
    pub is_in_use: bool,
    /// Whether it lies in a store of somebody else's.
    pub is_shared: bool,
    pub(super) folder: PathBuf,
    pub(super) source: Source,
}

/// There where an image is pinned.
pub(super) const PINNED: &str = "pinned";

impl StoredImage {
    /// The images in a store. What goes away meanwhile is left out.
    pub(super) fn all(root: &Root, is_shared: bool) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for form in Form::ALL {
            let folder = root.entries(form);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if Key::from_name(&entry.file_name()).is_some() {
                    found.extend(Self::read(root, &entry.path(), form, is_shared)?);
                }
            }
        }
        Ok(found)
    }

    /// The one in a directory, if there is one.
    pub(super) fn read(
        root: &Root,
        folder: &Path,
        form: Form,
        is_shared: bool,
    ) -> io::Result<Option<Self>> {
        let path = folder.join(ENTRY);
        let Some(record) = record::read::<EntryRecord>(&path)? else {
            return Ok(None);
        };
        let Ok(found) = fs::metadata(&path) else {
            return Ok(None);
        };
        let digest = match &record.source {
            Source::Manifest(digest) => Some(digest.clone()),
            _ => None,
        };
        let is_in_use = !is_shared && matches!(Unused::take(folder, root.locking()), Ok(None));
        let id = folder.file_name().unwrap_or_default();
        Ok(Some(Self {
            id: id.to_string_lossy().into_owned(),
            source: record.source,
            reference: record.reference,
            digest,
            platform: record.platform,
            compression: record.conversion.compression,
            form,
            path: folder.join(form.content()),
            size: record.size,
            created: after_epoch(Duration::from_secs(record.created)),
            last_used: found.modified().unwrap_or(UNIX_EPOCH),
            is_pinned: folder.join(PINNED).exists(),
            is_in_use,
            is_shared,
            folder: folder.to_owned(),
        }))
    }
}
