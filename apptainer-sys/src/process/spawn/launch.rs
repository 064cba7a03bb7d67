//! A process to start, with all prepared that it needs.

use std::ffi::{CString, c_char};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{OwnedFd, RawFd};
use std::ptr::null;

use super::{Placement, Session, SpawnStage, clone, posix};
use crate::process::{Pid, PidFd, Signal};

/// How a process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// With `clone3`: it has its pidfd and its cgroups from the start.
    Clone3,
    /// With `posix_spawn`, where `clone3` is not to be had. It is placed in its
    /// cgroups once it runs, and what it has started by then is not.
    PosixSpawn,
}

/// What is needed to start a process, in the form that system calls take.
pub(super) struct Launch {
    /// The program, then its arguments.
    pub(super) argv: Vec<CString>,
    pub(super) envp: Vec<CString>,
    pub(super) current_dir: Option<CString>,
    pub(super) session: Session,
    /// The terminal to be its session's.
    pub(super) terminal: Option<OwnedFd>,
    pub(super) parent_death: Option<Signal>,
    /// The CPUs that it may use, where it is not the calling thread that starts it.
    pub(super) cpus: Option<libc::cpu_set_t>,
    /// What it gets, each with its number.
    pub(super) descriptors: Vec<(OwnedFd, RawFd)>,
    /// The numbers that it does not get.
    pub(super) closed: Vec<RangeInclusive<RawFd>>,
    pub(super) placement: Option<Placement>,
}

/// A process that has been started.
pub(super) struct Launched {
    pub(super) pid: Pid,
    pub(super) pidfd: PidFd,
    pub(super) mechanism: Mechanism,
}

pub(super) type Failure = (SpawnStage, io::Error);

impl Launch {
    pub(super) fn start(&self, mechanism: Option<Mechanism>) -> Result<Launched, Failure> {
        match mechanism {
            Some(Mechanism::Clone3) => clone::start(self),
            Some(Mechanism::PosixSpawn) => posix::start(self),
            None => match clone::start(self) {
                Err((SpawnStage::Process, error)) if is_refused(&error) => posix::start(self),
                result => result,
            },
        }
    }
}

/// Whether an error says that there is no such system call, or that a filter
/// allows none: `clone3` itself returns `EPERM` only for namespaces.
fn is_refused(error: &io::Error) -> bool {
    let refusals = [libc::ENOSYS, libc::EPERM, libc::EINVAL];
    error
        .raw_os_error()
        .is_some_and(|code| refusals.contains(&code))
}

/// The form in which the kernel takes a list of strings.
pub(super) fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([null()]).collect()
}
