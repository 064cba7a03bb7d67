//! From what is staged and what is not, to how the working tree differs from a commit.
//!
//! `git diff COMMIT` would say it at once. But it writes the index, whatever it is told about
//! locks, and so can make a `git commit` fail that somebody does meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::GitStatus;
use super::status::{Blob, Kind, Staged, Status, Unmerged, Unstaged};

/// By path, from the top of the repository.
pub(super) type Changes = BTreeMap<Bytes, GitStatus>;

/// A file that differs from the index, which differs from the commit: it may be as in the commit.
pub(super) struct Doubt {
    pub(super) path: Bytes,
    /// What the commit has.
    pub(super) blob: Blob,
}

/// How a file is where it is not as in the commit.
#[derive(Default)]
struct File {
    staged: Option<(Kind, Blob)>,
    unstaged: Option<(Kind, Bytes)>,
    /// Where it has conflicts: whether it is there.
    unmerged: Option<bool>,
    is_untracked: bool,
}

/// How the working tree differs from the commit that `staged` was compared with, and what remains
/// to be seen. Only what is below `prefix`, without it.
pub(super) fn compare(status: Status, staged: Vec<Staged>, prefix: &[u8]) -> (Changes, Vec<Doubt>) {
    let mut files = Files {
        prefix,
        files: BTreeMap::new(),
    };
    for Staged { path, kind, blob } in staged {
        files.at(&path, |file| file.staged = Some((kind, blob)));
    }
    for Unstaged { path, kind, mode } in status.unstaged {
        files.at(&path, |file| file.unstaged = Some((kind, mode)));
    }
    for Unmerged { path, is_there, .. } in status.unmerged {
        files.at(&path, |file| file.unmerged = Some(is_there));
    }
    for path in status.untracked {
        let path = path
            .strip_suffix(b"/")
            .map_or(path.clone(), |path_only| path.slice_ref(path_only));
        files.at(&path, |file| file.is_untracked = true);
    }
    let mut doubts = Vec::new();
    let mut changes = Changes::new();
    for (path, file) in files.files {
        if let Some(status) = file.status() {
            if let Some(blob) = file.doubt() {
                let path = path.clone();
                doubts.push(Doubt { path, blob });
            }
            changes.insert(path, status);
        }
    }
    (changes, doubts)
}

struct Files<'a> {
    prefix: &'a [u8],
    files: BTreeMap<Bytes, File>,
}

impl Files<'_> {
    fn at(&mut self, path: &Bytes, change: impl FnOnce(&mut File)) {
        let Some(below) = path.strip_prefix(self.prefix) else {
            return;
        };
        match self.files.entry(path.slice_ref(below)) {
            Entry::Occupied(mut file) => change(file.get_mut()),
            Entry::Vacant(file) => change(file.insert(File::default())),
        }
    }
}

impl File {
    fn status(&self) -> Option<GitStatus> {
        // One that has conflicts is a change, whatever it holds.
        match (self.staged.is_some(), self.unmerged) {
            (_, None) => {}
            (true, Some(true)) => return Some(GitStatus::Updated),
            (true, Some(false)) => return Some(GitStatus::Deleted),
            (false, Some(true)) => return Some(GitStatus::Added),
            (false, Some(false)) => return None,
        }
        let staged = self.staged.as_ref().map(|(kind, _)| *kind);
        let unstaged = self.unstaged.as_ref().map(|(kind, _)| *kind);
        Some(match (staged, unstaged) {
            // It was added, and removed again.
            (Some(Kind::Added), Some(Kind::Deleted)) => return None,
            (Some(Kind::Added), _) | (None, Some(Kind::Added)) => GitStatus::Added,
            (None, None) if self.is_untracked => GitStatus::Added,
            (None, None) => return None,
            // The index has forgotten it, and the file is there.
            (Some(Kind::Deleted), Some(Kind::Added | Kind::Updated)) => GitStatus::Updated,
            (Some(Kind::Deleted), _) if self.is_untracked => GitStatus::Updated,
            (Some(Kind::Deleted), _) | (_, Some(Kind::Deleted)) => GitStatus::Deleted,
            (Some(Kind::Updated), _) | (None, Some(Kind::Updated)) => GitStatus::Updated,
        })
    }

    /// What it would have to be for there to be no change.
    fn doubt(&self) -> Option<Blob> {
        let (Some((Kind::Updated, blob)), Some((Kind::Updated, mode))) =
            (&self.staged, &self.unstaged)
        else {
            return None;
        };
        // A link is not looked at again: that its index alone was changed is not worth it.
        let is_file = blob.mode.starts_with(b"100");
        (is_file && blob.mode == mode).then(|| blob.clone())
    }
}
