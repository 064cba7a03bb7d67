//! Files in a container, looked at from outside.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use apptainer_sys::process::Pid;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::instance::processes::Processes;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is there, and was modified then.
    There(SystemTime),
    NotThere,
    /// The path may not be looked at from outside.
    Hidden,
}

/// Looks at a path as the instance's processes see it. Blocks, for as long as the container's
/// file systems take to answer.
pub(super) fn look(processes: &Processes, path: &Path) -> io::Result<Seen> {
    let seen = look_by(processes.payload_pid(), path)?;
    if processes.has_payload_ended()? {
        // The pid may have come to mean another.
        return Ok(Seen::NotThere);
    }
    Ok(seen)
}

fn look_by(pid: Pid, path: &Path) -> io::Result<Seen> {
    match modified(pid, path) {
        Ok(modified) => Ok(Seen::There(modified)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Seen::NotThere),
        // Linux before 5.6 knows no openat2, and filters of system calls may forbid it.
        Err(Errno::ACCESS | Errno::PERM | Errno::NOSYS | Errno::AGAIN) => Ok(Seen::Hidden),
        Err(error) => Err(error.into()),
    }
}

fn modified(pid: Pid, path: &Path) -> Result<SystemTime, Errno> {
    /// The kernel says so where something was renamed meanwhile, anywhere: openat2(2).
    const ATTEMPTS: usize = 32;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = format!("/proc/{pid}/root");
    let root = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = || openat2(&root, path, flags, Mode::empty(), resolve);
    let mut opened = open();
    for _ in 0..ATTEMPTS {
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
        opened = open();
    }
    let metadata = File::from(opened?).metadata();
    let modified = metadata.and_then(|metadata| metadata.modified());
    modified.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_here(path: &Path) -> Seen {
        look_by(Pid::try_from(std::process::id()).unwrap(), path).unwrap()
    }

    #[test]
    fn what_is_there_is_seen_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert_eq!(look_here(&file), Seen::NotThere);
        std::fs::write(&file, "").unwrap();
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(look_here(&file), Seen::There(modified));
        assert_eq!(look_here(&file.join("below")), Seen::NotThere);
        let circle = folder.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert_eq!(look_here(&circle), Seen::NotThere);
    }
}
