//! What a program has said, and what follows from it.

use std::ffi::OsString;
use std::path::Path;

use apptainer_sys::process::Exit;
use bytes::Bytes;

use super::GitError;

/// The most that is read of what git lists.
pub(super) const MOST: usize = 64 << 20;

/// How a git ended, and what it wrote.
pub(super) struct Ran {
    pub(super) argv: Vec<OsString>,
    pub(super) exit: Exit,
    pub(super) stdout: Bytes,
    pub(super) stderr: String,
}

impl Ran {
    /// It, where it has done what it was to do.
    pub(super) fn done(self) -> Result<Self, GitError> {
        if self.exit.success() {
            Ok(self)
        } else {
            Err(self.failed())
        }
    }

    /// What it wrote then.
    pub(super) fn success(self) -> Result<Bytes, GitError> {
        self.done().map(|ran| ran.stdout)
    }

    /// The same where it may say no, by exiting with 1.
    pub(super) fn answer(self) -> Result<Option<Bytes>, GitError> {
        if self.exit == Exit::Code(1) {
            return Ok(None);
        }
        self.success().map(Some)
    }

    /// That it failed, and what that means.
    pub(super) fn failed(self) -> GitError {
        GitError::Failed {
            argv: self.argv,
            exit: self.exit,
            stderr: self.stderr,
        }
    }

    /// The same of one that was asked about a repository in this directory. git tells why only in
    /// words, which are English: it is run without a language.
    pub(super) fn failed_in(self, directory: &Path) -> GitError {
        let path = directory.to_owned();
        if self.stderr.contains("not a git repository") {
            return GitError::NotARepository { path };
        }
        if self.stderr.contains("must be run in a work tree") {
            return GitError::Bare { path };
        }
        self.failed()
    }

    /// That it printed something else than it should have.
    pub(super) fn unexpected(argv: &[OsString], unexpected: &[u8]) -> GitError {
        GitError::Unexpected {
            argv: argv.to_owned(),
            unexpected: String::from_utf8_lossy(unexpected).into_owned(),
        }
    }
}
