//! Where something is to be in a container, and making it beside that.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::session::{Remote, Session};
use super::{FilesError, Kind, Metadata};
use crate::exec::files_protocol::Removal;

/// How many links are followed at the end of a path: as many as the kernel does, `MAXSYMLINKS`.
const MOST_LINKS: usize = 40;

/// A path that no link is at the end of, and what is there.
pub(super) struct Place {
    pub(super) path: Remote,
    pub(super) found: Option<Metadata>,
}

impl Place {
    /// Follows the links at the end of a path.
    pub(super) fn find(
        session: &mut Session,
        doing: &'static str,
        path: &Remote,
    ) -> Result<Self, FilesError> {
        let mut at = path.clone();
        for _ in 0..MOST_LINKS {
            let found = match session.status(&at, false)? {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self {
                        path: at,
                        found: None,
                    });
                }
                Err(error) => return Err(FilesError::within(doing, path.path())(error)),
            };
            if found.kind() != Kind::Symlink {
                return Ok(Self {
                    path: at,
                    found: Some(found),
                });
            }
            let target = session.read_link(&at)?;
            let target = target.map_err(FilesError::within(doing, path.path()))?;
            let parent = at.path().parent().unwrap_or(Path::new("/"));
            at = Remote::new(parent.join(target))?;
        }
        let error = Errno::LOOP.into();
        Err(FilesError::within(doing, path.path())(error))
    }

    /// The same of where a file is to be: an error, where something else is.
    pub(super) fn of_file(
        session: &mut Session,
        doing: &'static str,
        path: &Remote,
    ) -> Result<Self, FilesError> {
        let place = Self::find(session, doing, path)?;
        let at = path.at();
        match place.found.as_ref().map(Metadata::kind) {
            None | Some(Kind::File) => Ok(place),
            Some(Kind::Directory) => Err(FilesError::IsADirectory { doing, at }),
            Some(kind) => Err(FilesError::Special { at, kind }),
        }
    }
}

/// A name that nothing has, hidden.
pub(super) fn new_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!(".apptainer-{random:016x}")
}

/// The name of what is not finished of a file with this name, and is to be gone on with.
pub(super) fn partial_name(name: &[u8]) -> String {
    let hash = Sha256::digest(name);
    let first = hash.0.first_chunk().copied().unwrap_or_default();
    let number = u64::from_be_bytes(first);
    format!(".apptainer-part-{number:016x}")
}

impl Remote {
    /// Something with this name in the same directory.
    pub(super) fn beside(&self, name: &str) -> Result<Self, FilesError> {
        match self.parent() {
            Some(parent) => parent.join(name.as_ref()),
            None => Err(FilesError::Path {
                path: self.path().to_owned(),
            }),
        }
    }
}

/// Makes a directory, and those that it is in, where they are not there. Says whether it was not.
pub(super) fn make_dirs(session: &mut Session, path: &Remote) -> Result<bool, FilesError> {
    const DOING: &str = "make the directory";
    let failed = FilesError::within(DOING, path.path());
    match session.make_directory(path, 0o777, false)? {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // What is there may be one all the same: a file system that can only be read says that
        // first.
        Err(error) => {
            return match session.status(path, true)? {
                Ok(found) if found.is_dir() => Ok(false),
                Ok(_) => Err(failed(Errno::NOTDIR.into())),
                Err(_) => Err(failed(error)),
            };
        }
    }
    // Where its own parent is not there, nothing can be.
    let Some(parent) = path.parent().filter(|parent| parent != path) else {
        return Err(failed(Errno::NOENT.into()));
    };
    if !make_dirs(session, &parent)? && session.status(path, false)?.is_ok() {
        // A link that leads nowhere.
        return Err(failed(Errno::NOENT.into()));
    }
    match session.make_directory(path, 0o777, false)? {
        // Somebody else has made it meanwhile.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => Ok(true),
    }
}

/// Takes away what has been made at `temporary`, where what was done with it has failed.
pub(super) fn clean_up<T>(
    session: &mut Session,
    temporary: &Remote,
    result: Result<T, FilesError>,
) -> Result<T, FilesError> {
    if result.is_err() && !matches!(session.remove(Removal::All, temporary), Ok(Ok(()))) {
        // The server does so when it ends.
        session.give_up();
    }
    result
}
