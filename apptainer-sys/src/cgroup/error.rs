//! What goes wrong with cgroups.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Controller;

/// Something could not be done with a cgroup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The process is in no hierarchy that can be seen from here.
    #[error(
        "find the cgroup of process {pid}: no cgroup file system that it is in is mounted here"
    )]
    NotVisible {
        /// The process.
        pid: i32,
    },
    /// The name cannot be one of a directory.
    #[error(
        "make a cgroup called {name:?}: the name must be that of a file, and not begin with \"cgroup.\""
    )]
    InvalidName {
        /// What was given.
        name: String,
    },
    /// There is a group of that name already.
    #[error("make the cgroup {}: there is one already", .path.display())]
    AlreadyExists {
        /// One of its directories.
        path: PathBuf,
    },
    /// The caller may make no group there.
    #[error(
        "make a cgroup in {}: {source}; groups are made by root, and by users in a cgroup that is \
         theirs, as `systemd-run --user --scope -p Delegate=yes` makes one, where the cgroup file \
         system is mounted for writing", .path.display()
    )]
    NotDelegated {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Version 2 gives no controllers to the children of a group that has processes
    /// of its own.
    #[error(
        "give controllers to the cgroups in {}: it has processes of its own; move them to a group \
         below it first, as `Cgroup::move_processes` does", .path.display()
    )]
    HasProcesses {
        /// The parent.
        path: PathBuf,
    },
    /// Nothing controls that resource in this group.
    #[error("control {controller} in {}: no such controller is enabled or delegated there", .path.display())]
    NoController {
        /// The controller.
        controller: Controller,
        /// One of the group's directories.
        path: PathBuf,
    },
    /// The kernel cannot do it in that way, or at all.
    #[error("{doing} {}: the kernel has no means for it there", .path.display())]
    NoMechanism {
        /// What was to be done.
        doing: &'static str,
        /// One of the group's directories.
        path: PathBuf,
    },
    /// A limit is none that can be set; nothing was.
    #[error("limit a cgroup: {reason}")]
    InvalidLimit {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of the group could not be read or written.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The caller itself is in the group.
    #[error("{doing} {}: the calling process is in it", .path.display())]
    HoldsCaller {
        /// What was to be done.
        doing: &'static str,
        /// One of the group's directories.
        path: PathBuf,
    },
    /// Its processes are halted, as one that began there would be.
    #[error("start a process in {}: the cgroup is frozen; thaw it first", .path.display())]
    Frozen {
        /// One of the group's directories.
        path: PathBuf,
    },
    /// It took longer than it was given.
    #[error("{doing} {}: not done after {limit:?}", .path.display())]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// One of the group's directories.
        path: PathBuf,
        /// How long it was given.
        limit: Duration,
    },
}

impl CgroupError {
    /// Whether it says that the group, or that part of it, is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(libc::ENODEV)
            }
            _ => false,
        }
    }
}
