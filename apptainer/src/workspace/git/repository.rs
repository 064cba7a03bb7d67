//! A directory in a repository, and what its git is asked.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use bytes::Bytes;

use super::base::{Base, resolve};
use super::compare::{Changes, Doubt, compare};
use super::diff::MAX_DIFF_BYTES;
use super::ran::Ran;
use super::status::{CheckedOut, Staged, Status, parse_raw};
use super::{GitError, host, image};

/// How many bytes of paths a program is given: Linux gives one 128 KiB at least.
const ARGUMENTS: usize = 64 * 1024;

/// What every git is told: to start no other program than it must, to page nothing, to print
/// paths as they are, and to take paths for what they are.
pub(super) const SETTINGS: [&str; 16] = [
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.quotePath=false",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "status.relativePaths=false",
    "-c",
    "status.renames=false",
    "-c",
    "diff.renames=false",
    "-c",
    "diff.ignoreSubmodules=untracked",
    "-c",
    "gc.auto=0",
];

/// A directory in a repository.
pub(super) enum Repository {
    Image(image::Repository),
    Host(host::Repository),
}

/// Whether a status is to tell of what is not tracked.
pub(super) enum Untracked {
    All,
    No,
}

/// What a path has in the working tree.
pub(super) enum Content {
    /// No file and no symbolic link.
    None,
    /// This, be it a file's or what a link leads to.
    Some(Bytes),
    /// More bytes than are allowed: so many.
    TooLarge(u64),
}

impl Content {
    pub(super) fn of(content: Bytes, size: u64) -> Self {
        if size > MAX_DIFF_BYTES {
            Self::TooLarge(size)
        } else {
            Self::Some(content)
        }
    }
}

impl Repository {
    pub(super) async fn git(&self, args: Vec<OsString>) -> Result<Ran, GitError> {
        match self {
            Self::Image(opened) => opened.git(args).await,
            Self::Host(opened) => opened.git(args).await,
        }
    }

    /// What has been changed below this directory, without regard to repositories in it.
    pub(super) async fn changes(&self, reference: Option<&str>) -> Result<Changes, GitError> {
        let status = self.status(Untracked::All).await?;
        let base = match reference {
            Some(name) => Base::named(self, name).await?,
            None => Base::choose(self, &status.checked_out, Some(&status)).await?,
        };
        let staged = match base {
            Base::Head => status.staged_from_head(),
            Base::Commit(commit) => self.staged(&commit).await?,
        };
        let (mut changes, doubts) = compare(status, staged, self.prefix());
        self.settle(&mut changes, &doubts).await?;
        Ok(changes)
    }

    fn prefix(&self) -> &Bytes {
        match self {
            Self::Image(opened) => &opened.prefix,
            Self::Host(opened) => &opened.prefix,
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Image(opened) => &opened.directory,
            Self::Host(opened) => &opened.directory,
        }
    }

    /// The branch that is checked out, if one is.
    async fn branch(&self) -> Result<Option<String>, GitError> {
        let args = words(["symbolic-ref", "--quiet", "HEAD"]);
        let Some(branch) = self.git(args).await?.answer()? else {
            return Ok(None);
        };
        let branch = String::from_utf8_lossy(&branch);
        let branch = branch.trim_end().strip_prefix("refs/heads/");
        Ok(branch.map(str::to_owned))
    }

    /// What is staged and what is not, in all of the repository.
    pub(super) async fn status(&self, untracked: Untracked) -> Result<Status, GitError> {
        let mut args = words([
            "status",
            "--porcelain=v2",
            "--branch",
            "--no-ahead-behind",
            "-z",
            match untracked {
                Untracked::All => "--untracked-files=all",
                Untracked::No => "--untracked-files=no",
            },
        ]);
        if let Self::Host(_) = self {
            // It would be asked by a git of its own, in its own configuration.
            args.extend(words(["--ignore-submodules=dirty"]));
        }
        let ran = self.git(args).await?;
        if !ran.exit.success() {
            return Err(ran.failed_in(self.directory()));
        }
        Status::parse(&ran.argv, &ran.stdout)
    }

    /// How the index differs from a commit.
    async fn staged(&self, commit: &str) -> Result<Vec<Staged>, GitError> {
        let args = words([
            "diff-index",
            "--cached",
            "--raw",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--ignore-submodules=dirty",
            commit,
            "--",
        ]);
        let ran = self.git(args).await?.done()?;
        parse_raw(&ran.argv, &ran.stdout)
    }

    /// Takes away what turns out not to be changed.
    async fn settle(&self, changes: &mut Changes, doubts: &[Doubt]) -> Result<(), GitError> {
        let mut rest = doubts;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = |doubt: &&Doubt| {
                bytes += doubt.path.len() + 16;
                bytes < ARGUMENTS
            };
            let count = rest.iter().take_while(fit).count().max(1);
            let (some, others) = rest.split_at(count);
            rest = others;
            let mut args = words(["hash-object", "--"]);
            let path = |doubt: &Doubt| Path::new(".").join(OsStr::from_bytes(&doubt.path));
            args.extend(some.iter().map(|doubt| path(doubt).into()));
            let hashed = self.git(args).await?;
            if !hashed.exit.success() {
                // One of them has gone meanwhile: then they are changed.
                continue;
            }
            let lines = hashed.stdout.split(|byte| *byte == b'\n');
            for (doubt, line) in some.iter().zip(lines) {
                if doubt.blob.id == line {
                    changes.remove(&doubt.path);
                }
            }
        }
        Ok(())
    }

    /// What a commit has of a file below this directory.
    pub(super) async fn original(
        &self,
        path: &Path,
        below: &Path,
        reference: Option<&str>,
    ) -> Result<Option<Bytes>, GitError> {
        let head = resolve(self, "HEAD").await?;
        let base = if let Some(name) = reference {
            Base::named(self, name).await?
        } else {
            let head = head.clone();
            let branch = self.branch().await?;
            Base::choose(self, &CheckedOut { head, branch }, None).await?
        };
        let commit = match base {
            Base::Commit(commit) => commit,
            Base::Head => match head {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        let from_top = [self.prefix(), below.as_os_str().as_bytes()].concat();
        let mut args = words(["ls-tree", "-z", "-l", "--full-tree", &commit, "--"]);
        args.push(OsString::from_vec(from_top));
        let listed = self.git(args).await?.success()?;
        let Some((id, size)) = blob(&listed) else {
            return Ok(None);
        };
        if size > MAX_DIFF_BYTES {
            return Err(too_large(path, size));
        }
        let content = self.git(words(["cat-file", "blob", &id])).await?;
        content.success().map(Some)
    }
}

pub(super) fn too_large(path: &Path, size: u64) -> GitError {
    GitError::TooLarge {
        path: path.to_owned(),
        size,
        limit: MAX_DIFF_BYTES,
    }
}

/// The hash and size that `git ls-tree -l` tells of a file or a symbolic link, if it is one.
fn blob(listed: &[u8]) -> Option<(String, u64)> {
    let fields = listed
        .split(|byte| *byte == b'\t')
        .next()
        .unwrap_or_default();
    let fields = String::from_utf8_lossy(fields);
    let fields: Vec<_> = fields.split_whitespace().collect();
    match fields[..] {
        [_, "blob", id, size] => {
            // What is missing has none: reading it says so.
            Some((id.to_owned(), size.parse().unwrap_or(0)))
        }
        _ => None,
    }
}

pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}
