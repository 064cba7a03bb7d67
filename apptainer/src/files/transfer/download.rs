//! Copying out of a container.

use std::ffi::OsStr;
use std::fs::File;
use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use rustix::fs::fstat;

use super::Report;
use super::copy::{Job, Sink, Source, remote_version, version};
use super::depth::with_room;
use super::local::{LocalDir, NewFile, set};
use super::options::{Options, setters};
use super::resume::{is_beginning, lock};
use super::tree_out::download_tree;
use crate::files::place::partial_name;
use crate::files::read::open_file;
use crate::files::session::{Remote, Session};
use crate::files::{Files, FilesError, Kind, Metadata};

/// A file or directory that is to be on the host, once this is awaited: [`Files::download`].
#[derive(Debug)]
#[must_use = "nothing is copied until it is awaited"]
pub struct Download {
    files: Files,
    source: PathBuf,
    destination: PathBuf,
    options: Options,
}

impl Files {
    /// Copies a file or a directory of the container's to the host, with its permissions and
    /// times.
    ///
    /// `destination` is what it is to be, not the directory to put it in; directories that it is
    /// in are made. A file replaces what is there, as a whole, also a link. A directory that is
    /// new appears as a whole; one that is there keeps what else is in it, and what is replaced in
    /// it is so file by file. Links in a directory are copied as links, and those that are in the
    /// destination are not followed: whatever the container says, nothing is written anywhere
    /// else. It is not waited until all is on disk, unless [`sync`](Download::sync) says so.
    ///
    /// # Errors
    ///
    /// [`Changed`](FilesError::Changed) where something was written to, replaced or removed while
    /// it was copied; [`Special`](FilesError::Special) where something is neither file, directory
    /// nor link; [`Escapes`](FilesError::Escapes) where a name is none.
    pub fn download(&self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Download {
        Download {
            files: self.clone(),
            source: source.as_ref().to_owned(),
            destination: destination.as_ref().to_owned(),
            options: Options::default(),
        }
    }
}

setters!(Download);

impl IntoFuture for Download {
    type Output = Result<Report, FilesError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let source = self.files.remote(&self.source)?;
            let (destination, options) = (self.destination, self.options);
            self.files
                .run(move |session| {
                    let mut job = Job::new(session.wire(), options);
                    download(session, &mut job, &source, &destination)?;
                    Ok(job.report)
                })
                .await
        })
    }
}

fn download(
    session: &mut Session,
    job: &mut Job,
    source: &Remote,
    destination: &Path,
) -> Result<(), FilesError> {
    let found = session.status(source, true)?;
    let found = found.map_err(FilesError::within("read", source.path()))?;
    match found.kind() {
        Kind::File => {
            let (folder, name) = LocalDir::parent_of(destination)?;
            let (file, found) = open_file(session, "read", source)?;
            if job.options.resumes {
                resume(session, job, (&file, &found, source), (&folder, &name))?;
            } else {
                download_file(session, job, (&file, &found, source), (&folder, &name))?;
            }
            if job.options.syncs {
                folder.sync()?;
            }
            Ok(())
        }
        Kind::Directory => with_room(|| download_tree(session, job, source, &found, destination))
            .map_err(FilesError::within("read", source.path()))?,
        kind => job.skip(source.at(), kind),
    }
}

fn refuse_directory(folder: &LocalDir, name: &OsStr) -> Result<(), FilesError> {
    let found = folder.find(name)?;
    if found.is_some_and(|found| Kind::of_mode(found.st_mode) == Kind::Directory) {
        return Err(FilesError::IsADirectory {
            doing: "write",
            at: folder.at(name),
        });
    }
    Ok(())
}

/// Copies a file to where it replaces what is there.
pub(super) fn download_file(
    session: &mut Session,
    job: &mut Job,
    (file, found, path): (&File, &Metadata, &Remote),
    (folder, name): (&LocalDir, &OsStr),
) -> Result<(), FilesError> {
    refuse_directory(folder, name)?;
    let new = NewFile::create(folder)?;
    let source = source(file, found, path);
    let sink = Sink {
        file: new.file(),
        at: folder.at(name),
    };
    job.copy(&source, &sink, 0)?;
    if !is_unchanged(file, found) {
        unchanged_by_name(session.status(path, true)?.ok().as_ref(), found, path)?;
    }
    finish(job, new.file(), found, (folder, name))?;
    job.go_on()?;
    new.publish(name)?;
    job.note_file();
    Ok(())
}

fn resume(
    session: &mut Session,
    job: &mut Job,
    (file, found, path): (&File, &Metadata, &Remote),
    (folder, name): (&LocalDir, &OsStr),
) -> Result<(), FilesError> {
    refuse_directory(folder, name)?;
    let hidden = partial_name(name.as_encoded_bytes());
    let hidden = OsStr::new(&hidden);
    let partial = folder.open_or_create(hidden)?;
    let source = source(file, found, path);
    let sink = Sink {
        file: &partial,
        at: folder.at(name),
    };
    let failed = |error| FilesError::new("write", folder.at(name), error);
    let before = fstat(&partial).map_err(|error| failed(error.into()))?;
    if Kind::of_mode(before.st_mode) != Kind::File {
        let (at, kind) = (folder.at(hidden), Kind::of_mode(before.st_mode));
        return Err(FilesError::Special { at, kind });
    }
    job.expect(source.length);
    lock(&partial, &sink.at)?;
    let mut position = version(&before).0;
    if !is_beginning(job, &source, &sink, position)? {
        partial.set_len(0).map_err(failed)?;
        position = 0;
    }
    job.report.resumed_bytes = position;
    job.add(position);
    job.copy(&source, &sink, position)?;
    if !is_unchanged(file, found) {
        unchanged_by_name(session.status(path, true)?.ok().as_ref(), found, path)?;
    }
    finish(job, &partial, found, (folder, name))?;
    folder.rename(hidden, name)?;
    job.note_file();
    Ok(())
}

pub(super) fn source<'f>(file: &'f File, found: &Metadata, path: &Remote) -> Source<'f> {
    Source {
        file,
        at: path.at(),
        length: found.len(),
    }
}

/// Gives a file its permissions and its time.
pub(super) fn finish(
    job: &Job,
    file: &File,
    found: &Metadata,
    (folder, name): (&LocalDir, &OsStr),
) -> Result<(), FilesError> {
    let failed = |error| FilesError::new("write", folder.at(name), error);
    set(file, found.mode() & 0o777, found.status.modified).map_err(failed)?;
    if job.options.syncs {
        file.sync_all().map_err(failed)?;
    }
    Ok(())
}

/// Whether a file is seen to be as it was when it was opened. Where it is not, its server may
/// still say so.
pub(super) fn is_unchanged(file: &File, before: &Metadata) -> bool {
    // The kernel may refuse to tell us, where a FUSE program serves it.
    let now = fstat(file);
    now.is_ok_and(|now| version(&now) == remote_version(before) && now.st_nlink > 0)
}

/// That what has a path now, if anything has, is what it was.
pub(super) fn unchanged_by_name(
    now: Option<&Metadata>,
    before: &Metadata,
    path: &Remote,
) -> Result<(), FilesError> {
    let is_same = |now: &Metadata| {
        remote_version(now) == remote_version(before) && now.inode() == before.inode()
    };
    if now.is_some_and(is_same) {
        return Ok(());
    }
    let at = path.at();
    Err(FilesError::Changed { at })
}
