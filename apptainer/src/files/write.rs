//! Writing files.

use std::fs;
use std::future::{Future, IntoFuture};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;

use super::place::{Place, clean_up, make_dirs, new_name, partial_name};
use super::read::checked;
use super::session::{Remote, Renaming, Session};
use super::{Files, FilesError};
use crate::exec::files_protocol::{Attributes, opening};

/// What is written at a time.
const CHUNK: usize = 1 << 20;

/// What a file is to be, once it is awaited: [`Files::write`] and [`Files::upload_bytes`].
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Write {
    files: Files,
    path: PathBuf,
    content: Bytes,
    manner: Manner,
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether to wait until it is on disk.
    pub(super) syncs: bool,
    /// Whether the directories that it is in are made.
    pub(super) makes_parents: bool,
    /// Whether it is gone on with where it was left, and left where it cannot be finished.
    pub(super) resumes: bool,
    pub(super) mode: Option<u32>,
    /// When it was changed: seconds, and nanoseconds below one.
    pub(super) modified: Option<(i64, u32)>,
}

impl Write {
    /// Whether to wait until it is on disk, so that it is there after the machine has stopped
    /// at any moment: yes by default.
    pub fn sync(mut self, sync: bool) -> Self {
        self.manner.syncs = sync;
        self
    }

    /// Its permissions, of `0o777`. Otherwise they are those of the file that it replaces, or
    /// what the container's umask leaves of `0o666`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.manner.mode = Some(mode & 0o777);
        self
    }

    /// Whether the directories that it is in are made, where they are not there.
    pub fn parents(mut self, make: bool) -> Self {
        self.manner.makes_parents = make;
        self
    }
}

impl IntoFuture for Write {
    type Output = Result<(), FilesError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let path = self.files.remote(&self.path)?;
            let (content, manner) = (self.content, self.manner);
            let work = move |session: &mut Session| {
                let unfinished = Unfinished::begin(session, &path, manner)?;
                let written = write_all(session, &unfinished, &content);
                unfinished.finish(session, written)
            };
            self.files.run(work).await
        })
    }
}

impl Files {
    /// Writes a file as a whole: whoever looks sees what was there before, or all of it. Where a
    /// link is at the path, the file is written that it leads to.
    ///
    /// Dropped before it has been awaited to its end, nothing has changed, or all.
    pub fn write(&self, path: impl AsRef<Path>, content: impl Into<Bytes>) -> Write {
        Write {
            files: self.clone(),
            path: path.as_ref().to_owned(),
            content: content.into(),
            manner: Manner {
                syncs: true,
                makes_parents: false,
                resumes: false,
                mode: None,
                modified: None,
            },
        }
    }

    /// The same, and the directories that it is in are made; it is not waited until it is on disk.
    pub fn upload_bytes(&self, content: impl Into<Bytes>, path: impl AsRef<Path>) -> Write {
        self.write(path, content).sync(false).parents(true)
    }
}

/// A file that is written beside the place where it is to be.
pub(super) struct Unfinished {
    temporary: Remote,
    place: Place,
    path: Remote,
    file: fs::File,
    /// How much of it was there.
    length: u64,
    manner: Manner,
    mode: Option<u32>,
}

const DOING: &str = "write";

impl Unfinished {
    pub(super) fn begin(
        session: &mut Session,
        path: &Remote,
        manner: Manner,
    ) -> Result<Self, FilesError> {
        let place = Place::of_file(session, DOING, path)?;
        let found = place.found.as_ref();
        let mode = manner.mode.or(found.map(|found| found.mode() & 0o777));
        let (name, flags) = if manner.resumes {
            let name = place.path.path().file_name().unwrap_or_default();
            let flags = opening::READ | opening::NO_FOLLOW;
            (partial_name(name.as_encoded_bytes()), flags)
        } else {
            (new_name(), opening::EXCLUSIVE | opening::TEMPORARY)
        };
        let temporary = place.path.beside(&name)?;
        let flags = flags | opening::WRITE | opening::CREATE;
        // What it is to be closed to is closed out from the beginning.
        let first = if mode.is_some() { 0o600 } else { 0o666 };
        let mut opened = session.open(&temporary, flags, first)?;
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if manner.makes_parents
            && opened.as_ref().is_err_and(is_missing)
            && let Some(parent) = place.path.parent()
        {
            make_dirs(session, &parent)?;
            opened = session.open(&temporary, flags, first)?;
        }
        let (file, metadata) = checked(opened, DOING, path)?;
        Ok(Self {
            temporary,
            place,
            path: path.clone(),
            file,
            length: metadata.len(),
            manner,
            mode,
        })
    }

    pub(super) fn file(&self) -> &fs::File {
        &self.file
    }

    /// How much of it was there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn path(&self) -> &Remote {
        &self.path
    }

    /// Empties it.
    pub(super) fn empty(&self, session: &mut Session) -> Result<(), FilesError> {
        let flags = opening::WRITE | opening::TRUNCATE | opening::NO_FOLLOW;
        let emptied = session.open(&self.temporary, flags, 0)?;
        emptied
            .map(drop)
            .map_err(FilesError::within(DOING, self.path.path()))
    }

    /// Puts it in its place, where that has been written; or takes it away.
    pub(super) fn finish(
        self,
        session: &mut Session,
        written: Result<(), FilesError>,
    ) -> Result<(), FilesError> {
        let result = written.and_then(|()| self.publish(session));
        if self.manner.resumes {
            return result;
        }
        clean_up(session, &self.temporary, result)
    }

    fn publish(&self, session: &mut Session) -> Result<(), FilesError> {
        session.go_on()?;
        let failed = || FilesError::within(DOING, self.path.path());
        if self.manner.syncs {
            self.file.sync_all().map_err(failed())?;
        }
        let attributes = Attributes {
            mode: self.mode,
            modified: self.manner.modified,
        };
        let renaming = Renaming {
            replaces: true,
            syncs: self.manner.syncs,
        };
        let renamed = session.rename(&self.temporary, &self.place.path, attributes, renaming)?;
        renamed.map_err(failed())
    }
}

/// Writes all of this.
pub(super) fn write_all(
    session: &Session,
    unfinished: &Unfinished,
    content: &[u8],
) -> Result<(), FilesError> {
    for chunk in content.chunks(CHUNK) {
        session.go_on()?;
        let written = unfinished.file().write_all(chunk);
        written.map_err(FilesError::within(DOING, unfinished.path().path()))?;
    }
    Ok(())
}
