//! Where images are kept.
//!
//! ```text
//! STORE/v1/images/KEY/entry.json   what it is
//! STORE/v1/images/KEY/image.sif    the image, unless that lies outside the store
//! STORE/v1/images/KEY/sandbox/     the image extracted, where SIF files cannot be run
//! STORE/v1/locks/KEY               who fills the entry, for as long as it does
//! STORE/v1/work/                   what is not finished
//! ```
//!
//! `KEY` is the SHA-256 of what was asked for. An entry, and a sandbox within it,
//! is made in `work` and renamed into place, so what is there is whole.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::scratch::{self, Scratch};
use super::{ImageError, Reference};

/// A directory of images.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
}

/// What names an entry: the hash of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(String);

/// A place in the store, filled or not.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    path: PathBuf,
}

/// What is written beside an image.
#[derive(Debug, Serialize)]
struct EntryRecord<'a> {
    reference: &'a str,
}

impl Key {
    /// Of what a URI names, for this machine's architecture.
    ///
    /// What a URI takes from this machine's files changes with them.
    pub(super) fn of_uri(reference: &Reference) -> Result<Self, ImageError> {
        let mut hash = Sha256::new();
        feed(&mut hash, reference.identity().as_bytes());
        feed(&mut hash, std::env::consts::ARCH.as_bytes());
        if let Some(path) = reference.local_source() {
            let failed = |source| ImageError::NotFound {
                path: path.clone(),
                source,
            };
            feed_file(&mut hash, &path).map_err(failed)?;
        }
        Ok(Self(hex(&hash.finalize())))
    }

    /// Of a file outside the store.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let mut hash = Sha256::new();
        feed_file(&mut hash, path)?;
        Ok(Self(hex(&hash.finalize())))
    }
}

/// With its length, so that no two lists of fields are alike.
fn feed(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_le_bytes());
    hash.update(field);
}

/// A file by what changes when it is replaced or written to.
fn feed_file(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let file = fs::metadata(&path)?;
    feed(hash, path.as_os_str().as_bytes());
    for number in [file.dev(), file.ino(), file.len()] {
        feed(hash, &number.to_le_bytes());
    }
    for number in [file.mtime(), file.mtime_nsec()] {
        feed(hash, &number.to_le_bytes());
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Store {
    /// The store at `path`, made if it is not there, and rid of what killed
    /// processes left in it.
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        let store = Self {
            root: path.join("v1"),
        };
        for folder in [store.images(), store.locks(), store.work()] {
            fs::create_dir_all(&folder).map_err(store_error(&folder))?;
        }
        scratch::sweep(&store.work()).map_err(store_error(&store.work()))?;
        Ok(store)
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(super) fn entry(&self, key: &Key) -> Entry {
        Entry {
            path: self.images().join(&key.0),
        }
    }

    pub(super) fn scratch(&self) -> Result<Scratch, ImageError> {
        Scratch::new(&self.work()).map_err(store_error(&self.work()))
    }

    /// What whoever fills an entry holds meanwhile.
    pub(super) fn lock(&self, key: &Key) -> PathBuf {
        self.locks().join(&key.0)
    }

    /// Puts what was made at `made` into the store as `entry`, whole or not at all.
    ///
    /// Another process may have been faster; then its is as good.
    pub(super) fn publish(
        &self,
        made: &Path,
        entry: &Entry,
        reference: &Reference,
    ) -> Result<(), ImageError> {
        let record = EntryRecord {
            reference: &reference.to_string(),
        };
        let record = serde_json::to_vec(&record).map_err(io::Error::from);
        record
            .and_then(|record| fs::write(made.join("entry.json"), record))
            .and_then(|()| sync_files(made))
            .and_then(|()| rename_unless_there(made, &entry.path))
            .and_then(|()| sync(&self.images()))
            .map_err(store_error(&entry.path))
    }
}

impl Entry {
    /// The image, if the entry has it.
    pub(super) fn sif(&self) -> Option<PathBuf> {
        let path = self.path.join(Self::SIF);
        path.is_file().then_some(path)
    }

    /// The image extracted, if the entry has it.
    pub(super) fn sandbox(&self) -> Option<PathBuf> {
        let path = self.path.join(Self::SANDBOX);
        path.is_dir().then_some(path)
    }

    /// The name of the image in an entry.
    pub(super) const SIF: &str = "image.sif";

    const SANDBOX: &str = "sandbox";

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Adds the sandbox that was made at `made`.
    pub(super) fn publish_sandbox(&self, made: &Path) -> Result<PathBuf, ImageError> {
        let sandbox = self.path.join(Self::SANDBOX);
        rename_unless_there(made, &sandbox)
            .and_then(|()| sync(&self.path))
            .map_err(store_error(&sandbox))?;
        Ok(sandbox)
    }

    /// Takes the entry out of the store, into a directory that is removed.
    pub(super) fn evict(&self, scratch: &Scratch) -> Result<(), ImageError> {
        fs::rename(&self.path, scratch.path().join("evicted")).map_err(store_error(&self.path))
    }
}

pub(super) fn store_error(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Store { path, source }
}

fn rename_unless_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        renamed => renamed,
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Files of an entry that are not finished belong to nobody else.
fn sync_files(folder: &Path) -> io::Result<()> {
    for name in [Entry::SIF, "entry.json"].map(OsStr::new) {
        let path = folder.join(name);
        if path.exists() {
            sync(&path)?;
        }
    }
    sync(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_their_own_keys() {
        let key = |text: &str| Key::of_uri(&Reference::parse(text).unwrap()).unwrap();
        assert_ne!(key("docker://a/b:c"), key("docker://a_b_c"));
        assert_ne!(key("docker://a/b:c"), key("oras://a/b:c"));
        assert_eq!(key("docker://a/b:c"), key("docker://a/b:c"));
    }

    #[test]
    fn a_file_that_changes_has_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs::write(&path, "one").unwrap();
        let before = Key::of_file(&path).unwrap();
        fs::write(&path, "three").unwrap();
        assert_ne!(Key::of_file(&path).unwrap(), before);
    }

    #[test]
    fn an_entry_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let reference = Reference::parse("docker://a").unwrap();
        let entry = store.entry(&Key::of_uri(&reference).unwrap());
        let scratch = store.scratch().unwrap();
        let made = scratch.path().join("entry");
        fs::create_dir(&made).unwrap();
        fs::write(made.join(Entry::SIF), "image").unwrap();
        assert!(entry.sif().is_none());
        store.publish(&made, &entry, &reference).unwrap();
        assert_eq!(fs::read(entry.sif().unwrap()).unwrap(), b"image");
        drop(scratch);
        assert!(entry.sif().is_some());
    }

    #[test]
    fn whoever_comes_second_leaves_the_first_entry() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let reference = Reference::parse("docker://a").unwrap();
        let entry = store.entry(&Key::of_uri(&reference).unwrap());
        for content in ["first", "second"] {
            let scratch = store.scratch().unwrap();
            let made = scratch.path().join("entry");
            fs::create_dir(&made).unwrap();
            fs::write(made.join(Entry::SIF), content).unwrap();
            store.publish(&made, &entry, &reference).unwrap();
        }
        assert_eq!(fs::read(entry.sif().unwrap()).unwrap(), b"first");
    }
}
