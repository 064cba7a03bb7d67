//! The kernel's count of a user's processes.

use std::fs;
use std::io;

use apptainer_sys::process::{Pid, Process};

/// Whether the kernel counts the processes of the caller in each user namespace, Linux 5.14,
/// and holds the caller to a limit of theirs: root of the machine is exempt.
pub(super) fn are_counted() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    !nix::unistd::geteuid().is_root()
        && release.is_ok_and(|release| version(&release).is_some_and(|version| version >= (5, 14)))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|char: char| !char.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// How many threads there are in the user namespace of a process; `None` when it is that of
/// the caller, where others' are counted too.
pub(super) fn in_namespace_of(pid: Pid) -> io::Result<Option<u64>> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user"));
    let theirs = namespace(&pid.to_string())?;
    if theirs == namespace("self")? {
        return Ok(None);
    }
    let mut threads = 0;
    for process in Process::all()? {
        // What is not the caller's cannot be read, and does not count.
        if namespace(&process.pid.to_string()).is_ok_and(|namespace| namespace == theirs) {
            threads += of(process.pid)?;
        }
    }
    Ok(Some(threads))
}

/// How many threads a process has; none when it has ended.
pub(super) fn of(pid: Pid) -> io::Result<u64> {
    match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(threads) => Ok(threads.count() as u64),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("5.14.0-427.el9.x86_64"), Some((5, 14)));
        assert_eq!(version("6.1-rc3"), Some((6, 1)));
        assert!(version("4.18.0").unwrap() < (5, 14) && version("5.4.0").unwrap() < (5, 14));
        assert_eq!(version("none"), None);
    }

    #[test]
    fn the_callers_own_namespace_is_no_count_of_an_instance() {
        let me = Pid::try_from(std::process::id()).unwrap();
        assert_eq!(in_namespace_of(me).unwrap(), None);
        assert!(of(me).unwrap() >= 1);
        assert_eq!(of(Pid::MAX).unwrap(), 0);
    }
}
