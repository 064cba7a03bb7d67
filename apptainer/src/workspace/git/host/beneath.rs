//! Opening what lies beneath a directory, without being led out of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::fs::{Mode, OFlags, openat, readlinkat, statat};

use crate::workspace::git::GitError;
use crate::workspace::git::diff::MAX_DIFF_BYTES;
use crate::workspace::git::repository::Content;

/// Opens the directory that a file lies in: no name on the way may be a link.
fn parent<'a>(mount: &Path, below: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(mount, flags, Mode::empty())?;
    let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    for component in parent.components() {
        let Component::Normal(name) = component else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        directory = openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((directory, name))
}

/// Opens a file for reading, if it is one.
pub(super) fn open(mount: &Path, below: &Path) -> io::Result<File> {
    let (directory, name) = parent(mount, below)?;
    // What is no file must not be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&directory, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

/// Reads a file of no more than so many bytes.
pub(super) fn read(mount: &Path, below: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(mount, below)?.take(most + 1).read_to_end(&mut bytes)?;
    if read as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// What a link leads to.
pub(super) fn link(mount: &Path, below: &Path) -> io::Result<PathBuf> {
    fs::read_link(mount.join(below))
}

/// What a path has in the working tree.
pub(super) fn content(mount: &Path, below: &Path) -> Result<Content, GitError> {
    let path = mount.join(below);
    match try_content(mount, below) {
        Ok(content) => Ok(content),
        Err(error) if is_missing(&error) => Ok(Content::None),
        Err(source) => Err(GitError::Io { path, source }),
    }
}

fn try_content(mount: &Path, below: &Path) -> io::Result<Content> {
    let (directory, name) = parent(mount, below)?;
    let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => {
            let target = readlinkat(&directory, name, Vec::new())?.into_bytes();
            let size = target.len() as u64;
            Ok(Content::of(target.into(), size))
        }
        FileType::RegularFile => {
            let file = open(mount, below)?;
            let size = file.metadata()?.len();
            if size > MAX_DIFF_BYTES {
                return Ok(Content::TooLarge(size));
            }
            let mut bytes = Vec::new();
            let read = file.take(MAX_DIFF_BYTES + 1).read_to_end(&mut bytes)? as u64;
            Ok(Content::of(bytes.into(), size.max(read)))
        }
        _ => Ok(Content::None),
    }
}

/// Whether nothing is there.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
    )
}

/// What a file of git's says in one line, as a path.
pub(super) fn line(bytes: Vec<u8>) -> PathBuf {
    let mut bytes = bytes;
    while bytes
        .last()
        .is_some_and(|last| matches!(last, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    std::ffi::OsString::from_vec(bytes).into()
}
