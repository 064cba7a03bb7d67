//! What is taken away to make room.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::handle::{Pinned, remove};
use super::layout::Root;
use super::record::{self, NameRecord};
use super::scratch::is_left;
use super::store_error;
use super::stored::StoredImage;
use crate::image::ImageError;

/// What is taken from a store to make room.
///
/// An image goes for which any of the ages holds; then, the one that was used longest ago
/// first, as many as it takes to come down to the sizes. What is in use or pinned stays. What a
/// pull has left that was broken off goes in any case, once it is older than a day.
#[derive(Debug, Clone)]
#[must_use = "a policy is applied by `Store::prune`"]
pub struct Prune {
    older_than: Option<Duration>,
    unused_for: Option<Duration>,
    most: Option<u64>,
    free: Option<u64>,
    unfinished_for: Duration,
    is_dry: bool,
}

/// What was taken from a store.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// The images, in the order in which they went.
    pub removed: Vec<StoredImage>,
    /// Those that would have gone as well, but are in use.
    pub in_use: Vec<StoredImage>,
    /// How much room there is again, in bytes.
    pub bytes: u64,
}

impl Default for Prune {
    fn default() -> Self {
        Self::new()
    }
}

/// For how long it is remembered what a reference has led to, where that is not there.
const NAMES: Duration = Duration::from_secs(90 * 24 * 3600);

impl Prune {
    /// Takes no image away until it is told which.
    pub fn new() -> Self {
        Self {
            older_than: None,
            unused_for: None,
            most: None,
            free: None,
            unfinished_for: Duration::from_secs(24 * 3600),
            is_dry: false,
        }
    }

    /// Images that were made longer ago.
    pub fn older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// Images that were last used longer ago.
    pub fn unused_for(mut self, age: Duration) -> Self {
        self.unused_for = Some(age);
        self
    }

    /// As many as it takes for the rest to take no more than so many bytes.
    pub fn keep_bytes(mut self, most: u64) -> Self {
        self.most = Some(most);
        self
    }

    /// As many as it takes for the file system to have so many bytes free.
    pub fn free_bytes(mut self, free: u64) -> Self {
        self.free = Some(free);
        self
    }

    /// What pulls have left that were broken off so long ago: a day otherwise. A pull of the
    /// same image goes on with what is there.
    pub fn unfinished_for(mut self, age: Duration) -> Self {
        self.unfinished_for = age;
        self
    }

    /// Only says what would go.
    pub fn dry_run(mut self) -> Self {
        self.is_dry = true;
        self
    }

    pub(super) fn apply(&self, root: &Root) -> Result<Pruned, ImageError> {
        let mut pruned = Pruned::default();
        if !self.is_dry {
            root.sweep()?;
        }
        self.drop_blobs(root, &mut pruned)?;
        self.drop_names(root)?;
        self.drop_locks(root)?;
        let images = StoredImage::all(root, false).map_err(store_error(root.path()))?;
        let mut kept = Vec::new();
        for image in images {
            if !image.is_pinned && self.is_due(&image) {
                self.take(root, image, &mut pruned)?;
            } else {
                kept.push(image);
            }
        }
        kept.sort_by_key(|image| image.last_used);
        let mut size: u64 = kept
            .iter()
            .chain(&pruned.in_use)
            .map(|image| image.size)
            .sum();
        for image in kept {
            let is_too_much =
                self.most.is_some_and(|most| size > most) || self.lacks_room(root, &pruned)?;
            if !is_too_much {
                break;
            }
            let bytes = image.size;
            if !image.is_pinned && self.take(root, image, &mut pruned)? {
                size -= bytes;
            }
        }
        Ok(pruned)
    }

    fn is_due(&self, image: &StoredImage) -> bool {
        let passed = |limit: Option<Duration>, since: SystemTime| {
            limit.is_some_and(|limit| has_passed(limit, since))
        };
        passed(self.older_than, image.created) || passed(self.unused_for, image.last_used)
    }

    fn take(
        &self,
        root: &Root,
        image: StoredImage,
        pruned: &mut Pruned,
    ) -> Result<bool, ImageError> {
        let is_taken = if self.is_dry {
            !image.is_in_use
        } else {
            remove(root, &image, Pinned::Stays)?
        };
        if is_taken {
            pruned.bytes += image.size;
            pruned.removed.push(image);
        } else {
            pruned.in_use.push(image);
        }
        Ok(is_taken)
    }

    fn lacks_room(&self, root: &Root, pruned: &Pruned) -> Result<bool, ImageError> {
        let Some(wanted) = self.free else {
            return Ok(false);
        };
        let stat = nix::sys::statvfs::statvfs(root.path());
        let stat = stat.map_err(|error| store_error(root.path())(error.into()))?;
        let free = stat.blocks_available() * stat.fragment_size();
        // What was taken away is counted already, but for a dry run.
        let taken = if self.is_dry { pruned.bytes } else { 0 };
        Ok(free + taken < wanted)
    }

    fn drop_blobs(&self, root: &Root, pruned: &mut Pruned) -> Result<(), ImageError> {
        for (path, found) in files(&root.blobs())? {
            let is_old = found
                .modified()
                .is_ok_and(|time| has_passed(self.unfinished_for, time));
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !is_old {
                continue;
            }
            // Whoever fetches it has this.
            let lock = root.lock("blob", &name);
            let _lock = match lock.try_hold() {
                Ok(Some(lock)) => lock,
                Ok(None) => continue,
                // For one there may be no room: there is when images have gone.
                Err(error) => {
                    tracing::debug!(%error, path = %path.display(), "a layer that is left cannot be removed yet");
                    continue;
                }
            };
            if !self.is_dry {
                match fs::remove_file(&path) {
                    // Whoever had it has finished it meanwhile, or given it up.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    removed => removed.map_err(store_error(&path))?,
                }
            }
            pruned.bytes += found.blocks() * 512;
        }
        Ok(())
    }

    /// The files of locks that nobody has, which killed processes leave.
    fn drop_locks(&self, root: &Root) -> Result<(), ImageError> {
        if self.is_dry {
            return Ok(());
        }
        for (path, found) in files(&root.locks())? {
            let is_old = found
                .modified()
                .is_ok_and(|time| has_passed(self.unfinished_for, time));
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| is_old) else {
                continue;
            };
            // One that is free goes when it is taken and dropped.
            let (name, rest) = name.split_once(".lease").unwrap_or((name, ""));
            if rest.is_empty() {
                drop(root.lock_named(name).try_hold());
            } else if is_left(&found) {
                // A lease that was being made.
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }

    fn drop_names(&self, root: &Root) -> Result<(), ImageError> {
        if self.is_dry {
            return Ok(());
        }
        let images = StoredImage::all(root, false).map_err(store_error(root.path()))?;
        let sources: HashSet<_> = images.iter().map(|image| &image.source).collect();
        // What is named by a digest is never asked for again, however often it is used.
        let is_needed = |path: &Path| {
            let record = record::read::<NameRecord>(path).ok().flatten();
            record.is_some_and(|record| sources.contains(&record.source))
        };
        for folder in [root.path(), &root.names()] {
            for (path, found) in files(folder)? {
                let is_name = folder != root.path();
                let is_old = found.modified().is_ok_and(|time| has_passed(NAMES, time));
                if is_name && is_old && !is_needed(&path)
                    || record::is_unfinished(&path) && is_left(&found)
                {
                    let _ = fs::remove_file(&path);
                }
            }
        }
        Ok(())
    }
}

fn has_passed(limit: Duration, since: SystemTime) -> bool {
    // A time to come is a clock's that was set back: it counts as now.
    since.elapsed().unwrap_or_default() >= limit
}

fn files(folder: &Path) -> Result<Vec<(std::path::PathBuf, fs::Metadata)>, ImageError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(store_error(folder))? {
        let entry = entry.map_err(store_error(folder))?;
        // What is gone in between is not there.
        if let Ok(metadata) = entry.metadata() {
            found.push((entry.path(), metadata));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_were_never_finished_go_and_those_being_written_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.prepare().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        let records = [root.path().to_owned(), root.names()].map(|folder| {
            let [left, new, record] = [".new-a", ".new-b", "a.json"].map(|name| folder.join(name));
            for path in [&left, &new, &record] {
                fs::write(path, "{}").unwrap();
            }
            for path in [&left, &record] {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(long_ago).unwrap();
            }
            (left, [new, record])
        });
        let prune = Prune::new().unfinished_for(Duration::ZERO);
        let _ = prune.apply(&root).unwrap();
        for (left, kept) in records {
            assert!(!left.exists());
            assert!(kept.iter().all(|path| path.exists()));
        }
    }
}
