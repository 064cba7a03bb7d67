//! Finding the repository that a directory is in, as the container would.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Host;
use super::beneath::{self, line};
use crate::workspace::git::GitError;

/// How many links the kernel follows, too.
const LINKS: usize = 40;

/// A repository that a directory is in.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The top of what is checked out.
    pub(super) top: PathBuf,
    /// The directory, from there.
    pub(super) below: PathBuf,
    /// Where its own files are (`HEAD`, the index), below the mount.
    pub(super) git: PathBuf,
    /// Where what it shares with others is (objects, branches), below the mount.
    pub(super) common: PathBuf,
}

impl Host {
    /// Where below the mount a path of the container's is, with all links followed as they are
    /// there.
    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf, GitError> {
        let outside = || GitError::Outside {
            path: path.to_owned(),
            mount: self.mount.clone(),
        };
        let missing = || GitError::NoSuchFile {
            path: path.to_owned(),
        };
        // What is still to go, backwards.
        let mut rest: Vec<OsString> = Vec::new();
        let add = |rest: &mut Vec<OsString>, path: &Path| {
            let names = path.components().filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
            let names: Vec<_> = names.collect();
            rest.extend(names.into_iter().rev());
        };
        add(
            &mut rest,
            path.strip_prefix(&self.target).map_err(|_| outside())?,
        );
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = rest.pop() {
            if name == ".." {
                if !at.pop() {
                    return Err(outside());
                }
                continue;
            }
            let next = at.join(&name);
            let found = match fs::symlink_metadata(self.mount.join(&next)) {
                Ok(found) => found,
                Err(error) if beneath::is_missing(&error) => return Err(missing()),
                Err(source) => {
                    let path = self.mount.join(next);
                    return Err(GitError::Io { path, source });
                }
            };
            if !found.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            let target = beneath::link(&self.mount, &next).map_err(|_| missing())?;
            if links > LINKS {
                return Err(missing());
            }
            if target.is_absolute() {
                at = PathBuf::new();
                add(
                    &mut rest,
                    target.strip_prefix(&self.target).map_err(|_| outside())?,
                );
            } else {
                add(&mut rest, &target);
            }
        }
        Ok(at)
    }

    /// The same of what a file of git's names: relative to the file's directory, or absolute.
    pub(super) fn resolve_from(&self, directory: &Path, name: &Path) -> Result<PathBuf, GitError> {
        self.resolve(&self.target.join(directory).join(name))
    }
}

impl Found {
    pub(super) fn new(host: &Host, directory: &Path) -> Result<Self, GitError> {
        let asked = host.resolve(directory)?;
        if !host.mount.join(&asked).is_dir() {
            let path = directory.to_owned();
            return Err(GitError::NoSuchFile { path });
        }
        let is_repository = |path: &Path| {
            let path = host.mount.join(path);
            let is_there = |name: &str| path.join(name).symlink_metadata().is_ok();
            is_there("HEAD") && (is_there("commondir") || is_there("objects") && is_there("refs"))
        };
        for top in asked.ancestors() {
            // Within the part that is git's own nothing is checked out, nor where there is no
            // other.
            if is_repository(top) {
                let path = directory.to_owned();
                return Err(GitError::Bare { path });
            }
            let Some(git) = git_of(host, top)?.filter(|git| is_repository(git)) else {
                continue;
            };
            let below = asked.strip_prefix(top).unwrap_or(&asked).to_owned();
            let common = match beneath::read(&host.mount, &git.join("commondir"), 4096) {
                Ok(common) => host.resolve_from(&git, &line(common))?,
                Err(_) => git.clone(),
            };
            return Ok(Self {
                top: host.mount.join(top),
                below,
                git,
                common,
            });
        }
        let path = directory.to_owned();
        Err(GitError::NotARepository { path })
    }
}

/// What `.git` in a directory is, or names.
fn git_of(host: &Host, top: &Path) -> Result<Option<PathBuf>, GitError> {
    let git = match host.resolve_from(top, Path::new(".git")) {
        Err(GitError::NoSuchFile { .. }) => return Ok(None),
        git => git?,
    };
    let failed = |source: io::Error| GitError::Io {
        path: host.mount.join(&git),
        source,
    };
    if host.mount.join(&git).is_dir() {
        return Ok(Some(git));
    }
    let named = line(beneath::read(&host.mount, &git, 4096).map_err(failed)?);
    let Some(named) = named.as_os_str().as_bytes().strip_prefix(b"gitdir: ") else {
        return Ok(None);
    };
    let named = PathBuf::from(OsString::from_vec(named.to_vec()));
    match host.resolve_from(top, &named) {
        // As of a worktree that was moved.
        Err(GitError::NoSuchFile { .. }) => Ok(None),
        found => found.map(Some),
    }
}
