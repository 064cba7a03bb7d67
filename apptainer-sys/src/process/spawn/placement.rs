//! Where among cgroups a new process begins.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The cgroups that a process is in from its first instruction on.
///
/// [`Cgroup::placement`](crate::cgroup::Cgroup::placement) makes one.
#[derive(Debug)]
pub struct Placement {
    /// The directory of a v2 cgroup, for `CLONE_INTO_CGROUP`.
    directory: Option<OwnedFd>,
    /// That one's `cgroup.procs`, where that flag is refused.
    unified: Option<OwnedFd>,
    /// The `cgroup.procs` of v1 cgroups.
    legacy: Vec<OwnedFd>,
    /// Whether one of those has a process's memory moved to other nodes.
    moves_memory: bool,
}

impl Placement {
    /// Into a v2 cgroup, given by its directory and its `cgroup.procs`, and into
    /// v1 cgroups, given by their `cgroup.procs`; whether one of those is a cpuset.
    pub(crate) fn new(
        unified: Option<(OwnedFd, OwnedFd)>,
        legacy: Vec<OwnedFd>,
        has_cpuset: bool,
    ) -> Self {
        let (directory, unified) = unified.unzip();
        Self {
            directory,
            unified,
            legacy,
            moves_memory: has_cpuset,
        }
    }

    /// Whether to write oneself into [`legacy`](Self::legacy) changes the memory that
    /// one has.
    pub(super) fn moves_memory(&self) -> bool {
        self.moves_memory
    }

    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// What a process writes itself into, once it is in the v2 cgroup.
    pub(super) fn legacy(&self) -> impl Iterator<Item = &OwnedFd> {
        self.legacy.iter()
    }

    /// What a process writes itself into otherwise.
    pub(super) fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.unified.iter().chain(&self.legacy)
    }
}
