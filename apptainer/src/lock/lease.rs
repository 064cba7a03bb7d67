//! A lock that its holder renews, for file systems whose own locks do not count on all nodes.
//!
//! # What it is
//!
//! The lease of `KEY` is a folder `KEY.lease` with one file in it. The file's name is a random
//! token that is used once, its content is what the holder has to say, and its time of
//! modification is when it was last renewed. No folder, or an empty one, is nobody's.
//!
//! Every change is one request that a server does as a whole and that fails when the state is not
//! the one that it was meant for:
//!
//! - It is taken by renaming a folder that has been made ready, with the file in it, to
//!   `KEY.lease`, which fails when there is one that is not empty (rename(2); RFC 1813 and RFC
//!   7530 at RENAME). A link, or a file that is made with `O_EXCL`, would be as exclusive, but
//!   could not be taken over and removed like this.
//! - It is renewed by setting the times of `KEY.lease/TOKEN`.
//! - One that is over is taken over by setting the times of `KEY.lease/TOKEN` and renaming it to
//!   `KEY.lease/OTHER`: of many that try, one finds the old name.
//! - It is given up by removing `KEY.lease/TOKEN`, and then `KEY.lease` if that is empty.
//!
//! Since a token is never used again, whoever acts on what it saw long ago finds nothing, and
//! nobody's lease is ever removed, or put aside for a moment, by mistake.
//!
//! # Why one has it at a time
//!
//! A holder counts on it until 5/6 of its length have passed, on its own steady clock, since it
//! *began* the last renewal; and a renewal counts only if it was *over* by then. Others take it for
//! over when its time lies more than its length before that of a file that they have touched
//! *before* they looked. So whoever judges it to be over has looked when the holder did not count
//! on it any more, nor ever will again: that a renewal gets through between the judgement and the
//! taking over does no harm, and neither does it when somebody sleeps between any two steps. The
//! time is set before the rename, so that the new name is never seen with the old time; the new
//! holder's own count begins before both.
//!
//! Clocks of nodes do not matter, as both times are given by the file system, however wrong it is.
//! One that lies in the future is set to now, else a file left by somebody before the clock was
//! put back would stay for as long.
//!
//! # Limitations
//!
//! - Lustre has its clients give the times (`ll_setattr_raw` in its llite). A live holder's lease is
//!   safe there while the clocks of its nodes are less than two thirds of a length apart.
//! - A client that answers what it remembers, as NFS does with `nocto` and FUSE may, must not do so
//!   for longer than that either.
//! - That is also how far the clock of a file system may be put forward while a lease is held.
//! - What a holder does with its lease is its own affair: one that slept has to ask whether it is
//!   still held before it does something that cannot be undone.
//! - A kill at the wrong moment leaves the folder that was made ready, `KEY.lease.RANDOM`.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::renewal::{self, Renewed};
use super::term::{Term, is_gone, touch};

/// For how long a lease is valid if it is not renewed, for all that share a file system.
pub(super) const LENGTH: Duration = Duration::from_secs(60);

/// How often the state may be another by the time that something is done about it. Each time
/// somebody else was faster.
const ATTEMPTS: usize = 4;

/// A lock that one has at a time, between threads, processes and nodes. Dropped, it is free, and
/// its file is gone.
#[derive(Debug)]
pub(super) struct Lease {
    folder: PathBuf,
    term: Arc<Term>,
}

impl Lease {
    /// Takes the lease beside this path, whose folder is there; `None` when somebody has it.
    pub(super) fn try_take(path: &Path, length: Duration) -> io::Result<Option<Self>> {
        let folder = folder(path);
        for _ in 0..ATTEMPTS {
            let found = tokens(&folder)?;
            let taken = match found.first() {
                None => Self::make(folder.clone(), length)?,
                Some(token) => {
                    if !are_over(&folder, &found, length)? {
                        return Ok(None);
                    }
                    Self::take_over(folder.clone(), token, length)?
                }
            };
            if let Some(lease) = taken {
                return Ok(lease.is_held().then_some(lease));
            }
        }
        Ok(None)
    }

    /// `None` when somebody else has just done so.
    fn make(folder: PathBuf, length: Duration) -> io::Result<Option<Self>> {
        let started = Instant::now();
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".");
        let ready = tempfile::Builder::new()
            .prefix(&name)
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent(&folder))?;
        let token = token()?;
        File::create_new(ready.path().join(&token))?;
        let file = folder.join(&token);
        let renamed = fs::rename(ready.path(), &folder);
        if renamed.is_ok() || is_there(&file) {
            let _ = ready.keep();
            return Self::begin(folder, file, length, started).map(Some);
        }
        match renamed {
            Err(error) if is_occupied(&error) => {
                // Not every file system replaces one that is empty.
                let _ = fs::remove_dir(&folder);
                Ok(None)
            }
            failed => failed.map(|()| None),
        }
    }

    /// Takes over a lease that is over; `None` when it is not there any more.
    fn take_over(folder: PathBuf, token: &OsString, length: Duration) -> io::Result<Option<Self>> {
        let started = Instant::now();
        let old = folder.join(token);
        let file = folder.join(self::token()?);
        let renamed = touch(&old).and_then(|()| fs::rename(&old, &file));
        match renamed {
            Err(error) if !is_there(&file) => {
                return if is_gone(&error) {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
            _ => {}
        }
        let lease = Self::begin(folder, file, length, started)?;
        // What the one before had to say.
        match lease.write(b"") {
            Err(error) if is_gone(&error) => Ok(None),
            written => written.map(|()| Some(lease)),
        }
    }

    fn begin(
        folder: PathBuf,
        file: PathBuf,
        length: Duration,
        started: Instant,
    ) -> io::Result<Self> {
        let term = Arc::new(Term::new(file, length, started));
        let lease = Self { folder, term };
        let device = fs::metadata(parent(&lease.folder))?.dev();
        renewal::begin(device, Arc::clone(&lease.term) as Arc<dyn Renewed>)?;
        Ok(lease)
    }

    /// Writes something for others to read into its file.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // Never makes one: the lease may be somebody else's by now.
        let file = File::options().write(true).open(self.term.file())?;
        file.set_len(0)?;
        file.write_all_at(bytes, 0)
    }

    pub(super) fn is_held(&self) -> bool {
        self.term.is_held()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        renewal::end(&self.term);
        // By a name that was ours alone.
        let _ = fs::remove_file(self.term.file());
        let _ = fs::remove_dir(&self.folder);
    }
}

/// What whoever has the lease beside this path has written.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let folder = folder(path);
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let token = tokens(&folder)?.into_iter().next().ok_or_else(missing)?;
    fs::read(folder.join(token))
}

fn folder(path: &Path) -> PathBuf {
    let mut folder = path.to_owned().into_os_string();
    folder.push(".lease");
    folder.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// One that nobody else has, had, or will have.
fn token() -> io::Result<String> {
    // random(4).
    let token = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(token.trim().to_owned())
}

/// What is in a lease's folder, in one order for all: one token, or nothing. Besides, an NFS
/// client leaves a file there for a while that was removed while somebody read it; if it stays, it
/// is over like any other.
fn tokens(folder: &Path) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<io::Result<Vec<_>>>()
    });
    match entries {
        Ok(mut tokens) => {
            tokens.sort_unstable();
            Ok(tokens)
        }
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn are_over(folder: &Path, tokens: &[OsString], length: Duration) -> io::Result<bool> {
    // Before it is looked at any of them.
    let now = now(parent(folder))?;
    for token in tokens {
        if !is_over(&folder.join(token), now, length)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_over(file: &Path, now: SystemTime, length: Duration) -> io::Result<bool> {
    match renewed(file) {
        Ok(renewed) if renewed > now + length => match touch(file) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(false),
        },
        Ok(renewed) => Ok(renewed + length < now),
        // That is seen, and what to do about it, when it is tried to take it over.
        Err(error) if is_gone(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// It is opened, because an NFS client then asks the server (nfs(5), close-to-open), and else
/// answers what it remembers.
fn renewed(file: &Path) -> io::Result<SystemTime> {
    File::open(file)?.metadata()?.modified()
}

/// What time it is by the clock of the file system, which is not this machine's.
fn now(folder: &Path) -> io::Result<SystemTime> {
    let file = tempfile::tempfile_in(folder)?;
    let now = TimeSpec::UTIME_NOW;
    futimens(&file, &now, &now)?;
    file.metadata()?.modified()
}

/// After a request that failed: over NFS it may have been done, and asked a second time because
/// the answer was lost.
fn is_there(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok()
}

fn is_occupied(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty)
}
