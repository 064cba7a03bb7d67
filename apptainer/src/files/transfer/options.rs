//! How something is copied, and what came of it.

use std::fmt;
use std::sync::Arc;

use crate::files::{Kind, Location};

/// What is done with what is neither a file, a directory nor a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SpecialFiles {
    /// It is an [error](crate::files::FilesError::Special), and nothing is copied.
    #[default]
    Refuse,
    /// It is left out, and [told](Report::skipped).
    Skip,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that have been copied; of one that is resumed, with those that were there.
    pub bytes: u64,
    /// Files that have been copied.
    pub files: u64,
    /// How many bytes there are; unknown of a directory.
    pub total_bytes: Option<u64>,
}

/// What has been copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Bytes of files; of one that was resumed, all of them.
    pub bytes: u64,
    /// Of these, what was there from an attempt before.
    pub resumed_bytes: u64,
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// What was not copied.
    pub at: Location,
    /// What it is.
    pub kind: Kind,
}

/// Who is told how far a copy has come.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Listener {
    pub(super) fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(super) fn tell(&self, progress: Progress) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_there = self.0.is_some();
        f.debug_tuple("Listener").field(&is_there).finish()
    }
}

/// How something is copied, in either direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) special: SpecialFiles,
    pub(super) resumes: bool,
    pub(super) syncs: bool,
    pub(super) listener: Listener,
}

/// What copies in both directions can be told.
macro_rules! setters {
    ($Copy:ident) => {
        impl $Copy {
            /// What is done with what is neither a file, a directory nor a link.
            pub fn special_files(mut self, special: $crate::files::SpecialFiles) -> Self {
                self.options.special = special;
                self
            }

            /// Whether a single file is gone on with where an attempt with the same setting left it, once
            /// what is there has been compared; and left where it cannot be finished, as `.apptainer-part-`
            /// and letters that depend on its name. Off by default. Of directories nothing is left.
            pub fn resume(mut self, resume: bool) -> Self {
                self.options.resumes = resume;
                self
            }

            /// Whether to wait until each file is on disk before it has its name. Off by default.
            pub fn sync(mut self, sync: bool) -> Self {
                self.options.syncs = sync;
                self
            }

            /// Has this called as it goes on, on a thread that may block; what it does takes as much longer.
            pub fn progress(
                mut self,
                listener: impl Fn($crate::files::Progress) + Send + Sync + 'static,
            ) -> Self {
                self.options.listener = $crate::files::transfer::options::Listener::new(listener);
                self
            }
        }
    };
}

pub(super) use setters;
