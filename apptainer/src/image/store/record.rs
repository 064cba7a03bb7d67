//! What is written beside images.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::key::Source;
use crate::image::{Conversion, Platform};

/// `entry.json`: what an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::image) struct EntryRecord {
    /// What it was first asked for as.
    pub(in crate::image) reference: String,
    pub(in crate::image) source: Source,
    pub(in crate::image) platform: Platform,
    #[serde(default)]
    pub(in crate::image) conversion: Conversion,
    /// When it was made, in seconds since 1970.
    pub(in crate::image) created: u64,
    /// How much room it takes, in bytes.
    pub(in crate::image) size: u64,
    /// The digest of the SIF file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::image) sif: Option<String>,
}

/// `names/KEY.json`: what a reference led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::image) struct NameRecord {
    pub(in crate::image) reference: String,
    pub(in crate::image) platform: Platform,
    /// The digest that the name itself had, of an index or a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::image) named: Option<String>,
    pub(in crate::image) source: Source,
    /// When that was asked for, in milliseconds since 1970.
    pub(in crate::image) asked: u64,
}

impl NameRecord {
    pub(in crate::image) fn asked_at(&self) -> SystemTime {
        after_epoch(Duration::from_millis(self.asked))
    }
}

/// A time; that of the epoch where it is too far to count.
pub(super) fn after_epoch(since: Duration) -> SystemTime {
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Milliseconds since 1970.
pub(in crate::image) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(super) const ENTRY: &str = "entry.json";

/// How the names of records begin that are being written.
const UNFINISHED: &str = ".new-";

/// Reads a record; `None` where there is none, or one that is not understood.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a record in a directory that is not in its place yet.
pub(in crate::image) fn write_entry(made: &Path, record: &EntryRecord) -> io::Result<()> {
    let mut file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o644)
        .open(made.join(ENTRY))?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()
}

/// Puts a record in the place of an older one, whole or not at all.
pub(super) fn replace(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let written = write_beside(path, record)?.persist(path);
    written.map(drop).map_err(|error| error.error)
}

/// Puts a record where there is none yet, whole or not at all.
pub(super) fn add(path: &Path, record: &impl Serialize) -> io::Result<()> {
    match write_beside(path, record)?.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map(drop).map_err(|error| error.error),
    }
}

/// Whether what is there was to become a record.
pub(super) fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(UNFINISHED))
}

fn write_beside(path: &Path, record: &impl Serialize) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    Ok(file)
}
