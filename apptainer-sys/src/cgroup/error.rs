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
    /// The caller may make no group there.
    #[error(
        "make a cgroup in {}: {source}; it is not delegated to this user: run as root, or in a \
         cgroup of your own, as `systemd-run --user --scope -p Delegate=yes` makes one", .path.display()
    )]
    NotDelegated {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing controls that resource in this group.
    #[error("control {controller} in {}: the controller is not enabled there", .path.display())]
    NoController {
        /// The controller.
        controller: Controller,
        /// One of the group's directories.
        path: PathBuf,
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
