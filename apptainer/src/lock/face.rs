//! Both kinds of lock behind one face.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Locking;
use super::flock::{self, Flock};
use super::lease::{self, Lease};

/// A lock that one has at a time, between threads and processes, and between nodes where its
/// [`Locking`] counts there. Dropped, it is free, and its file is gone.
///
/// A flock is the file at the path, a lease the folder beside it that has `.lease` at the end
/// of its name. The two know nothing of each other: whoever uses one path has to use the same
/// kind, which is therefore chosen once for all that lies in one place, and written down there
/// where nodes might choose differently.
#[derive(Debug)]
pub(crate) struct FileLock(Form);

#[derive(Debug)]
enum Form {
    Flock(Flock),
    Lease(Lease),
}

impl FileLock {
    /// Takes the lock at this path, whose folder is there; `None` when somebody has it.
    ///
    /// Whoever is told so and asks again should leave pauses of about a second for a lease: to
    /// see whether it is over, a file is made and removed.
    pub(crate) fn try_take(path: &Path, locking: Locking) -> io::Result<Option<Self>> {
        Self::try_take_for(path, locking, lease::LENGTH)
    }

    /// With leases of this length.
    pub(super) fn try_take_for(
        path: &Path,
        locking: Locking,
        length: Duration,
    ) -> io::Result<Option<Self>> {
        let form = match locking {
            Locking::Flock => Flock::try_take(path)?.map(Form::Flock),
            Locking::Lease => Lease::try_take(path, length)?.map(Form::Lease),
        };
        Ok(form.map(Self))
    }

    /// Writes something for others to [read](Self::read).
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            Form::Flock(flock) => flock.write(bytes),
            Form::Lease(lease) => lease.write(bytes),
        }
    }

    /// What whoever has the lock at this path has written: nothing yet, or a part, while that
    /// is being done. Where nobody has it, it is an error of the kind
    /// [`io::ErrorKind::NotFound`], or what the one before had written, who was killed.
    pub(crate) fn read(path: &Path, locking: Locking) -> io::Result<Vec<u8>> {
        match locking {
            Locking::Flock => flock::read(path),
            Locking::Lease => lease::read(path),
        }
    }

    /// Whether it is still ours. A lease is lost by whoever cannot renew it in time, and does
    /// not come back.
    pub(crate) fn is_held(&self) -> bool {
        match &self.0 {
            Form::Flock(_) => true,
            Form::Lease(lease) => lease.is_held(),
        }
    }
}
