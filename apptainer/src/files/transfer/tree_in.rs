//! Copying a directory into a container.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

use rustix::fs::{Stat, fstat};

use super::copy::{Job, Sink, Source, modified, version};
use super::local::{LocalDir, set, timestamps};
use super::upload::{unchanged, upload_file};
use crate::exec::files_protocol::{Attributes, Removal, opening};
use crate::files::place::{Place, clean_up, make_dirs, new_name};
use crate::files::read::checked;
use crate::files::session::{Remote, Renaming, Session};
use crate::files::{Entry, FilesError, Kind, Location};

const DOING: &str = "write";

/// How many files are asked for ahead.
pub(super) const AHEAD: usize = 8;

/// Copies a directory to where it is new as a whole, or gets what it does not have.
pub(super) fn upload_tree(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    destination: &Remote,
) -> Result<(), FilesError> {
    let place = Place::find(session, DOING, destination)?;
    match place.found.map(|found| found.kind()) {
        None => {
            if let Some(parent) = place.path.parent() {
                make_dirs(session, &parent)?;
            }
            add_dir(session, job, source, &place.path)
        }
        Some(Kind::Directory) => merge(session, job, source, &place.path),
        Some(_) => Err(FilesError::NotADirectory {
            doing: DOING,
            at: destination.at(),
        }),
    }
}

fn attributes(found: &Stat) -> Attributes {
    Attributes {
        mode: Some(found.st_mode & 0o777),
        modified: Some(modified(found)),
    }
}

/// Copies a directory to where nothing is, so that it appears as a whole.
fn add_dir(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    path: &Remote,
) -> Result<(), FilesError> {
    let temporary = path.beside(&new_name())?;
    let made = session.make_directory(&temporary, 0o700, true)?;
    made.map_err(FilesError::within(DOING, path.path()))?;
    let result = fill(session, job, source, &temporary).and_then(|()| {
        session.go_on()?;
        let renaming = Renaming {
            replaces: false,
            syncs: job.options.syncs,
        };
        let attributes = attributes(&source.stat()?);
        match session.rename(&temporary, path, attributes, renaming)? {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                move_in(session, &temporary, path, attributes)
            }
            renamed => renamed.map_err(FilesError::within(DOING, path.path())),
        }
    });
    clean_up(session, &temporary, result)?;
    job.report.directories += 1;
    Ok(())
}

/// Gives a directory its place where the kernel does not: an overlay whose upper layer has no
/// extended attributes moves none into a directory that is of the image. What is in it can be
/// moved.
fn move_in(
    session: &mut Session,
    temporary: &Remote,
    path: &Remote,
    attributes: Attributes,
) -> Result<(), FilesError> {
    let failed = || FilesError::within(DOING, path.path());
    let made = session.make_directory(path, 0o700, true)?;
    made.map_err(failed())?;
    let renaming = Renaming {
        replaces: true,
        syncs: false,
    };
    let moved = (|| {
        let listed = session.list(temporary)?;
        for entry in listed.map_err(failed())? {
            session.go_on()?;
            move_one(session, &entry, &temporary.join(&entry.name)?, path)?;
        }
        let removed = session.remove(Removal::Directory, temporary)?;
        removed.map_err(failed())?;
        // It has its name already, and with this keeps it.
        let kept = session.rename(path, path, attributes, renaming)?;
        kept.map_err(failed())
    })();
    clean_up(session, path, moved)
}

/// Moves something into a directory.
fn move_one(
    session: &mut Session,
    entry: &Entry,
    from: &Remote,
    folder: &Remote,
) -> Result<(), FilesError> {
    let to = folder.join(&entry.name)?;
    let failed = || FilesError::within(DOING, to.path());
    let mode_of = |mode| Attributes {
        mode: Some(mode),
        modified: None,
    };
    let (mut before, mut after) = (Attributes::default(), None);
    if entry.kind == Kind::Directory {
        // What is in it changes: where it comes from.
        let found = session.status(from, false)?.map_err(failed())?;
        before = mode_of(found.mode() | 0o700);
        after = Some(mode_of(found.mode()));
    }
    let renaming = Renaming {
        replaces: true,
        syncs: false,
    };
    let moved = session.rename(from, &to, before, renaming)?;
    moved.map_err(failed())?;
    if let Some(after) = after.filter(|after| *after != before) {
        let set = session.set(&to, after, true)?;
        set.map_err(failed())?;
    }
    Ok(())
}

/// Copies what is in a directory to one that is empty and that nobody sees yet.
fn fill(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    destination: &Remote,
) -> Result<(), FilesError> {
    let mut files = Vec::new();
    for (name, kind) in source.list()? {
        job.go_on()?;
        let path = destination.join(&name)?;
        let failed = || FilesError::within(DOING, path.path());
        match kind {
            Kind::File => files.push(name),
            Kind::Directory => {
                let below = meanwhile(source.enter(&name, "read"))?;
                let made = session.make_directory(&path, 0o700, false)?;
                made.map_err(failed())?;
                fill(session, job, &below, &path)?;
                let set = session.set(&path, attributes(&below.stat()?), true)?;
                set.map_err(failed())?;
                job.report.directories += 1;
            }
            Kind::Symlink => {
                let target = meanwhile(source.read_link(&name))?;
                let made = session.make_link(&target, &path, false)?;
                made.map_err(failed())?;
                date_link(session, source, &name, &path)?;
                job.report.symlinks += 1;
            }
            kind => job.skip(source.at(&name), kind)?,
        }
    }
    let copied = fill_with_files(session, job, source, destination, &files);
    if copied.is_err() {
        // What has been asked for ahead is answered to nobody.
        session.give_up();
    }
    copied
}

/// A file that has been asked for.
struct Asked {
    path: Remote,
    file: File,
    found: Stat,
    at: Location,
}

fn fill_with_files(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    destination: &Remote,
    names: &[OsString],
) -> Result<(), FilesError> {
    let flags = opening::WRITE | opening::CREATE | opening::EXCLUSIVE;
    let mut names = names.iter();
    let mut asked = VecDeque::with_capacity(AHEAD);
    let mut refused = Vec::new();
    loop {
        while asked.len() < AHEAD
            && let Some(name) = names.next()
        {
            let next = ask(source, destination, name)?;
            session.ask_to_open(&next.path, flags, next.found.st_mode & 0o777)?;
            asked.push_back(next);
        }
        let Some(next) = asked.pop_front() else {
            break;
        };
        job.go_on()?;
        let opened = session.opened()?;
        let (file, metadata) = checked(opened, DOING, &next.path)?;
        let source = Source {
            file: &next.file,
            at: next.at,
            length: version(&next.found).0,
        };
        let sink = Sink {
            file: &file,
            at: next.path.at(),
        };
        job.copy(&source, &sink, 0)?;
        unchanged(&source, &next.found)?;
        if job.options.syncs {
            let synced = file.sync_all();
            synced.map_err(FilesError::within(DOING, next.path.path()))?;
        }
        let wanted = attributes(&next.found);
        // The kernel may refuse it to us, where a FUSE program serves the file.
        let time = modified(&next.found);
        let is_set = if metadata.mode() == next.found.st_mode & 0o777 {
            rustix::fs::futimens(&file, &timestamps(time)).is_ok()
        } else {
            set(&file, next.found.st_mode & 0o777, time).is_ok()
        };
        if !is_set {
            refused.push((next.path, wanted));
        }
        job.note_file();
    }
    for (path, wanted) in refused {
        let set = session.set(&path, wanted, true)?;
        set.map_err(FilesError::within(DOING, path.path()))?;
    }
    Ok(())
}

fn ask(source: &LocalDir, destination: &Remote, name: &OsStr) -> Result<Asked, FilesError> {
    let (file, found) = open(source, name)?;
    Ok(Asked {
        path: destination.join(name)?,
        file,
        found,
        at: source.at(name),
    })
}

fn open(source: &LocalDir, name: &OsStr) -> Result<(File, Stat), FilesError> {
    let file = meanwhile(source.read(name))?;
    let at = source.at(name);
    let found = fstat(&file).map_err(|error| FilesError::new("read", at.clone(), error.into()))?;
    if Kind::of_mode(found.st_mode) != Kind::File {
        return Err(FilesError::Changed { at });
    }
    Ok((file, found))
}

/// Copies what is in a directory to one that is there, each as a whole.
fn merge(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    destination: &Remote,
) -> Result<(), FilesError> {
    // What is resumed is a single file.
    job.options.resumes = false;
    for (name, kind) in source.list()? {
        job.go_on()?;
        let path = destination.join(&name)?;
        match kind {
            Kind::File => {
                let (file, found) = open(source, &name)?;
                upload_file(session, job, (&file, &found, source.at(&name)), &path)?;
            }
            Kind::Directory => {
                let below = meanwhile(source.enter(&name, "read"))?;
                merge_dir(session, job, &below, &path)?;
            }
            Kind::Symlink => merge_link(session, job, source, &name, &path)?,
            kind => job.skip(source.at(&name), kind)?,
        }
    }
    Ok(())
}

fn merge_dir(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    path: &Remote,
) -> Result<(), FilesError> {
    match session.status(path, false)? {
        Ok(found) if found.is_dir() => {
            merge(session, job, source, path)?;
            job.report.directories += 1;
            Ok(())
        }
        // A link is not followed out of the destination.
        Ok(_) => Err(FilesError::NotADirectory {
            doing: DOING,
            at: path.at(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            add_dir(session, job, source, path)
        }
        Err(error) => Err(FilesError::within(DOING, path.path())(error)),
    }
}

fn merge_link(
    session: &mut Session,
    job: &mut Job,
    source: &LocalDir,
    name: &OsStr,
    path: &Remote,
) -> Result<(), FilesError> {
    let target = meanwhile(source.read_link(name))?;
    let temporary = path.beside(&new_name())?;
    let made = session.make_link(&target, &temporary, true)?;
    made.map_err(FilesError::within(DOING, path.path()))?;
    let result = date_link(session, source, name, &temporary).and_then(|()| {
        let renaming = Renaming {
            replaces: true,
            syncs: false,
        };
        let renamed = session.rename(&temporary, path, Attributes::default(), renaming)?;
        renamed.map_err(FilesError::within(DOING, path.path()))
    });
    clean_up(session, &temporary, result)?;
    job.report.symlinks += 1;
    Ok(())
}

/// Gives a link the time of the one that it is a copy of.
fn date_link(
    session: &mut Session,
    source: &LocalDir,
    name: &OsStr,
    path: &Remote,
) -> Result<(), FilesError> {
    let Some(found) = source.find(name)? else {
        let at = source.at(name);
        return Err(FilesError::Changed { at });
    };
    let attributes = Attributes {
        mode: None,
        modified: Some(modified(&found)),
    };
    // Not every file system has times of links.
    let _ = session.set(path, attributes, false)?;
    Ok(())
}

/// What was listed and is not there, or something else by now, has changed.
pub(super) fn meanwhile<T>(result: Result<T, FilesError>) -> Result<T, FilesError> {
    result.map_err(|error| match error {
        FilesError::NotFound { at, .. } | FilesError::NotADirectory { at, .. } => {
            FilesError::Changed { at }
        }
        FilesError::Io { at, source, .. } if source.raw_os_error() == Some(nix::libc::ELOOP) => {
            FilesError::Changed { at }
        }
        error => error,
    })
}
