//! For how long a lease is ours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::renewal::Renewed;

/// A lease's file, and until when it is ours if it is not renewed.
#[derive(Debug)]
pub(super) struct Term {
    file: PathBuf,
    /// After which the others take it for over.
    length: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the last renewal that counts was begun; `None` once the lease is lost.
    renewed: Option<Instant>,
    /// When to renew it next.
    next: Instant,
}

impl Term {
    /// Of a file that was given its time after this moment.
    pub(super) fn new(file: PathBuf, length: Duration, renewed: Instant) -> Self {
        Self {
            file,
            length,
            state: Mutex::new(State {
                renewed: Some(renewed),
                next: renewed + length / 3,
            }),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn is_held(&self) -> bool {
        let renewed = self.state().renewed;
        renewed.is_some_and(|renewed| self.covers(renewed))
    }

    /// Whether a renewal at that moment still counts. To us it ends before it does to the others,
    /// for clocks do not run quite alike, and some file systems count in whole seconds.
    fn covers(&self, renewed: Instant) -> bool {
        renewed.elapsed() < self.length * 5 / 6
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewed for Term {
    /// `None` when it is lost.
    fn next(&self) -> Option<Instant> {
        let state = self.state();
        state.renewed.map(|_| state.next)
    }

    fn renew(&self) {
        let started = Instant::now();
        let renewed = touch(&self.file);
        let mut state = self.state();
        // By now somebody may have found that it is over: what was renewed too late is not ours.
        if !state.renewed.is_some_and(|last| self.covers(last)) {
            state.renewed = None;
            return;
        }
        match renewed {
            Ok(()) => {
                state.renewed = Some(started);
                state.next = started + self.length / 3;
            }
            Err(error) if is_gone(&error) => state.renewed = None,
            Err(error) => {
                tracing::warn!(%error, path = %self.file.display(), "cannot renew a lock");
                state.next = Instant::now() + self.length / 12;
            }
        }
    }
}

/// Sets a file's times to now, by the clock of its file system: of all ways to set them, this one
/// leaves it to an NFS server what time it is (`SET_TO_SERVER_TIME` in RFC 1813).
pub(super) fn touch(file: &Path) -> io::Result<()> {
    let now = TimeSpec::UTIME_NOW;
    utimensat(AT_FDCWD, file, &now, &now, UtimensatFlags::FollowSymlink)?;
    Ok(())
}

/// Whether it says that the file has been removed, or renamed, here or on another node.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    matches!(
        error.kind(),
        NotFound | NotADirectory | StaleNetworkFileHandle
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(12);

    fn term(renewed_ago: Duration) -> (tempfile::TempDir, Term) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "").unwrap();
        let renewed = Instant::now().checked_sub(renewed_ago).unwrap();
        (folder, Term::new(file, LENGTH, renewed))
    }

    #[test]
    fn what_is_renewed_in_time_stays_ours() {
        let (_folder, term) = term(LENGTH / 2);
        let before = term.next().unwrap();
        assert!(term.is_held());
        term.renew();
        assert!(term.is_held());
        assert!(term.next().unwrap() > before);
    }

    #[test]
    fn what_is_renewed_too_late_is_lost_though_its_file_is_there() {
        let (_folder, term) = term(LENGTH);
        assert!(!term.is_held());
        term.renew();
        assert!(!term.is_held());
        assert_eq!(term.next(), None);
    }

    #[test]
    fn what_has_been_taken_away_is_lost_at_once() {
        let (_folder, term) = term(Duration::ZERO);
        std::fs::remove_file(term.file()).unwrap();
        assert!(term.is_held());
        term.renew();
        assert!(!term.is_held());
    }
}
