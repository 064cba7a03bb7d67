//! What is so for locks of both kinds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::{FileLock, Locking};
use super::other::{Other, count};

const BOTH: [Locking; 2] = [Locking::Flock, Locking::Lease];

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_lock_is_taken_once_at_a_time() {
    for locking in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let first = FileLock::try_take(&path, locking).unwrap();
        assert!(first.as_ref().is_some_and(FileLock::is_held));
        assert!(FileLock::try_take(&path, locking).unwrap().is_none());
        let other = folder.path().join("db");
        assert!(FileLock::try_take(&other, locking).unwrap().is_some());
        drop(first);
        assert!(FileLock::try_take(&path, locking).unwrap().is_some());
        assert!(is_empty(folder.path()), "{locking:?}");
    }
}

#[test]
fn what_the_holder_has_written_is_read() {
    for locking in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let read = || FileLock::read(&path, locking);
        assert_eq!(read().unwrap_err().kind(), std::io::ErrorKind::NotFound);
        let lock = FileLock::try_take(&path, locking).unwrap().unwrap();
        assert_eq!(read().unwrap(), b"");
        lock.write(b"process 1234 on alpha").unwrap();
        assert_eq!(read().unwrap(), b"process 1234 on alpha");
        lock.write(b"me").unwrap();
        assert_eq!(read().unwrap(), b"me");
        drop(lock);
        assert_eq!(read().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn a_lock_in_a_folder_that_is_not_there_is_an_error() {
    for locking in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/web");
        let error = FileLock::try_take(&path, locking).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn threads_never_hold_one_lock_together() {
    for locking in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let number = folder.path().join("number");
        fs::write(&number, "0").unwrap();
        let take = || FileLock::try_take_for(&path, locking, LONG).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| count(&number, take));
            }
        });
        assert_eq!(fs::read_to_string(&number).unwrap(), "160");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{locking:?}");
    }
}

#[test]
fn processes_never_hold_one_lock_together() {
    for locking in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web");
        let number = folder.path().join("web.count");
        fs::write(&number, "0").unwrap();
        let new = |_| Other::new(&path, locking, LONG);
        let mut others: Vec<_> = (0..4).map(new).collect();
        for other in &mut others {
            other.send("count");
        }
        for other in &mut others {
            assert_eq!(other.answer(), "20");
        }
        assert_eq!(fs::read_to_string(&number).unwrap(), "80");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{locking:?}");
    }
}

#[test]
fn a_flock_is_free_once_its_holder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let mut other = Other::new(&path, Locking::Flock, LONG);
    assert_eq!(other.ask("take"), "true");
    assert!(FileLock::try_take(&path, Locking::Flock).unwrap().is_none());
    other.kill();
    assert!(FileLock::try_take(&path, Locking::Flock).unwrap().is_some());
    assert!(is_empty(folder.path()));
}
