//! Copying a directory out of a container.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::copy::{Job, Sink};
use super::download::{download_file, finish, is_unchanged, source, unchanged_by_name};
use super::local::{LocalDir, NewDir};
use super::tree_in::{AHEAD, meanwhile};
use crate::exec::files_protocol::opening;
use crate::files::read::checked;
use crate::files::session::{Remote, Session};
use crate::files::{Entry, FilesError, Kind, Metadata};

/// Copies a directory to where it is new as a whole, or gets what it does not have.
pub(super) fn download_tree(
    session: &mut Session,
    job: &mut Job,
    path: &Remote,
    found: &Metadata,
    destination: &Path,
) -> Result<(), FilesError> {
    // What is resumed is a single file.
    job.options.resumes = false;
    let (folder, name) = LocalDir::parent_of(destination)?;
    add_or_merge(session, job, (path, found), (&folder, &name))
}

fn add_or_merge(
    session: &mut Session,
    job: &mut Job,
    (path, found): (&Remote, &Metadata),
    (folder, name): (&LocalDir, &std::ffi::OsStr),
) -> Result<(), FilesError> {
    match folder.find(name)?.map(|found| Kind::of_mode(found.st_mode)) {
        None => {
            let new = NewDir::create(folder)?;
            let inside = new.enter()?;
            fill(session, job, path, &inside)?;
            inside.set(found.mode() & 0o777, found.status.modified)?;
            if job.options.syncs {
                inside.sync()?;
            }
            job.go_on()?;
            new.publish(name)?;
        }
        Some(Kind::Directory) => merge(session, job, path, &folder.enter(name, "write")?)?,
        // A link is not followed.
        Some(_) => {
            return Err(FilesError::NotADirectory {
                doing: "write",
                at: folder.at(name),
            });
        }
    }
    if job.options.syncs {
        folder.sync()?;
    }
    job.report.directories += 1;
    Ok(())
}

/// What is in a directory of the container's, each with its path, if their names are some.
fn list(session: &mut Session, path: &Remote) -> Result<Vec<(Entry, Remote)>, FilesError> {
    let listed = session.list(path)?;
    let listed = meanwhile(listed.map_err(FilesError::within("list", path.path())))?;
    let mut found = Vec::with_capacity(listed.len());
    for entry in listed {
        let name = entry.name.as_bytes();
        if name.is_empty() || matches!(name, b"." | b"..") || name.contains(&b'/') {
            let at = path.at();
            return Err(FilesError::Escapes { at });
        }
        let below = path.join(&entry.name)?;
        found.push((entry, below));
    }
    Ok(found)
}

/// What something in a directory is: not what it may lead to.
fn status(session: &mut Session, path: &Remote) -> Result<Metadata, FilesError> {
    let found = session.status(path, false)?;
    meanwhile(found.map_err(FilesError::within("read", path.path())))
}

/// Copies what is in a directory to one that is empty and that nobody sees yet.
fn fill(
    session: &mut Session,
    job: &mut Job,
    path: &Remote,
    folder: &LocalDir,
) -> Result<(), FilesError> {
    let mut files = Vec::new();
    for (Entry { name, kind }, path) in list(session, path)? {
        job.go_on()?;
        match kind {
            Kind::File => files.push((name, path)),
            Kind::Directory => {
                let found = status(session, &path)?;
                if !found.is_dir() {
                    let at = path.at();
                    return Err(FilesError::Changed { at });
                }
                folder.make_dir(&name, 0o700)?;
                let below = folder.enter(&name, "write")?;
                fill(session, job, &path, &below)?;
                below.set(found.mode() & 0o777, found.status.modified)?;
                job.report.directories += 1;
            }
            Kind::Symlink => link(session, job, &path, (folder, &name))?,
            kind => job.skip(path.at(), kind)?,
        }
    }
    let copied = fill_with_files(session, job, files, folder);
    if copied.is_err() {
        // What has been asked for ahead is answered to nobody.
        session.give_up();
    }
    copied
}

fn fill_with_files(
    session: &mut Session,
    job: &mut Job,
    files: Vec<(OsString, Remote)>,
    folder: &LocalDir,
) -> Result<(), FilesError> {
    let mut files = files.into_iter();
    let mut asked = VecDeque::with_capacity(AHEAD);
    let mut uncertain = Vec::new();
    loop {
        while asked.len() < AHEAD
            && let Some((name, path)) = files.next()
        {
            session.ask_to_open(&path, opening::READ | opening::NO_FOLLOW, 0)?;
            asked.push_back((name, path));
        }
        let Some((name, path)) = asked.pop_front() else {
            break;
        };
        job.go_on()?;
        let opened = session.opened()?;
        let (file, found) = meanwhile(checked(opened, "read", &path))?;
        let new = folder.create(&name, 0o600)?;
        let sink = Sink {
            file: &new,
            at: folder.at(&name),
        };
        job.copy(&source(&file, &found, &path), &sink, 0)?;
        finish(job, &new, &found, (folder, &name))?;
        if !is_unchanged(&file, &found) {
            uncertain.push((found, path));
        }
        job.note_file();
    }
    for some in uncertain.chunks(AHEAD) {
        for (_, path) in some {
            session.ask_for_status(path, true)?;
        }
        for (before, path) in some {
            let now = session.found()?.ok();
            unchanged_by_name(now.as_ref(), before, path)?;
        }
    }
    Ok(())
}

fn link(
    session: &mut Session,
    job: &mut Job,
    path: &Remote,
    (folder, name): (&LocalDir, &std::ffi::OsStr),
) -> Result<(), FilesError> {
    let target = session.read_link(path)?;
    let target = meanwhile(target.map_err(FilesError::within("read the link", path.path())))?;
    let found = status(session, path)?;
    folder.make_link(&target, name)?;
    folder.date_link(name, found.status.modified);
    job.report.symlinks += 1;
    Ok(())
}

/// Copies what is in a directory to one that is there, each as a whole.
fn merge(
    session: &mut Session,
    job: &mut Job,
    path: &Remote,
    folder: &LocalDir,
) -> Result<(), FilesError> {
    for (Entry { name, kind }, path) in list(session, path)? {
        job.go_on()?;
        match kind {
            Kind::File => {
                let flags = opening::READ | opening::NO_FOLLOW;
                let opened = session.open(&path, flags, 0)?;
                let (file, found) = meanwhile(checked(opened, "read", &path))?;
                download_file(session, job, (&file, &found, &path), (folder, &name))?;
            }
            Kind::Directory => {
                let found = status(session, &path)?;
                add_or_merge(session, job, (&path, &found), (folder, &name))?;
            }
            Kind::Symlink => {
                let hidden = OsString::from(crate::files::place::new_name());
                link(session, job, &path, (folder, &hidden))?;
                if let Err(error) = folder.rename(&hidden, &name) {
                    folder.remove_all(&hidden);
                    return Err(error);
                }
            }
            kind => job.skip(path.at(), kind)?,
        }
    }
    Ok(())
}
