//! Copying into a container.

use std::fs::File;
use std::future::{Future, IntoFuture};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use rustix::fs::{OFlags, Stat, fstat};

use super::Report;
use super::copy::{Job, Sink, Source, modified, version};
use super::depth::with_room;
use super::local::LocalDir;
use super::options::{Options, setters};
use super::resume::{is_beginning, lock};
use super::tree_in::upload_tree;
use crate::files::session::{Remote, Session};
use crate::files::write::{Manner, Unfinished};
use crate::files::{Files, FilesError, Kind, Location};

/// A file or directory that is to be in a container, once this is awaited: [`Files::upload`].
#[derive(Debug)]
#[must_use = "nothing is copied until it is awaited"]
pub struct Upload {
    files: Files,
    source: PathBuf,
    destination: PathBuf,
    options: Options,
}

impl Files {
    /// Copies a file or a directory of the host's into the container, with its permissions and
    /// times.
    ///
    /// `destination` is what it is to be, not the directory to put it in; directories that it is
    /// in are made. A file replaces one that is there, as a whole; at a link, the file that it
    /// leads to. A directory that is new appears as a whole; one that is there keeps what else is
    /// in it, and what is replaced in it is so file by file. Links in a directory are copied as
    /// links. It is not waited until all is on disk, unless [`sync`](Upload::sync) says so.
    ///
    /// # Errors
    ///
    /// [`Changed`](FilesError::Changed) where something was written to, or removed, while it was
    /// copied; [`Special`](FilesError::Special) where something is neither file, directory nor
    /// link.
    pub fn upload(&self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Upload {
        Upload {
            files: self.clone(),
            source: source.as_ref().to_owned(),
            destination: destination.as_ref().to_owned(),
            options: Options::default(),
        }
    }
}

setters!(Upload);

impl IntoFuture for Upload {
    type Output = Result<Report, FilesError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let destination = self.files.remote(&self.destination)?;
            let (source, options) = (self.source, self.options);
            self.files
                .run(move |session| {
                    let mut job = Job::new(session.wire(), options);
                    upload(session, &mut job, &source, &destination)?;
                    Ok(job.report)
                })
                .await
        })
    }
}

fn upload(
    session: &mut Session,
    job: &mut Job,
    path: &Path,
    destination: &Remote,
) -> Result<(), FilesError> {
    // A pipe that nobody is at the other end of would keep us waiting.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(FilesError::on_host("read", path))?;
    let found = fstat(&file).map_err(|error| FilesError::on_host("read", path)(error.into()))?;
    let at = Location::host(path);
    match Kind::of_mode(found.st_mode) {
        Kind::File => upload_file(session, job, (&file, &found, at), destination),
        Kind::Directory => {
            let folder = LocalDir::of(file, path);
            with_room(|| upload_tree(session, job, &folder, destination))
                .map_err(FilesError::on_host("read", path))?
        }
        kind => job.skip(at, kind),
    }
}

/// Copies a file to where it replaces what is there.
pub(super) fn upload_file(
    session: &mut Session,
    job: &mut Job,
    (file, found, at): (&File, &Stat, Location),
    destination: &Remote,
) -> Result<(), FilesError> {
    let source = Source {
        file,
        at,
        length: version(found).0,
    };
    let manner = Manner {
        syncs: job.options.syncs,
        makes_parents: true,
        resumes: job.options.resumes,
        mode: Some(found.st_mode & 0o777),
        modified: Some(modified(found)),
    };
    let unfinished = Unfinished::begin(session, destination, manner)?;
    let copied = copy(session, job, &source, &unfinished).and_then(|()| unchanged(&source, found));
    unfinished.finish(session, copied)?;
    job.note_file();
    Ok(())
}

fn copy(
    session: &mut Session,
    job: &mut Job,
    source: &Source<'_>,
    unfinished: &Unfinished,
) -> Result<(), FilesError> {
    let sink = Sink {
        file: unfinished.file(),
        at: unfinished.path().at(),
    };
    let mut position = 0;
    if job.options.resumes {
        job.expect(source.length);
        lock(sink.file, &sink.at)?;
        if is_beginning(job, source, &sink, unfinished.length())? {
            position = unfinished.length();
        } else {
            unfinished.empty(session)?;
        }
        job.report.resumed_bytes = position;
        job.add(position);
    }
    job.copy(source, &sink, position)
}

/// That a file of the host's is as it was when it was opened.
pub(super) fn unchanged(source: &Source<'_>, before: &Stat) -> Result<(), FilesError> {
    let now = fstat(source.file)
        .map_err(|error| FilesError::new("read", source.at.clone(), error.into()))?;
    if version(&now) != version(before) || now.st_nlink == 0 {
        let at = source.at.clone();
        return Err(FilesError::Changed { at });
    }
    Ok(())
}
