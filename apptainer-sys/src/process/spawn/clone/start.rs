//! From what is to be started to a plan for the child, and what came of it.
#![expect(unsafe_code, reason = "two system calls are asked what they can do")]

use std::cell::Cell;
use std::ffi::c_uint;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::null;

use super::call::{clone, reap};
use super::child::{Closed, Plan};
use super::page::SharedPage;
use crate::process::PidFd;
use crate::process::spawn::SpawnStage;
use crate::process::spawn::launch::{Failure, Launch, Launched, Mechanism, null_terminated};
use crate::process::spawn::stdio::left_open;

/// How the child is placed among cgroups.
struct Joining<'a> {
    /// By the kernel, given its directory.
    cgroup: Option<RawFd>,
    /// By itself.
    files: Vec<&'a OwnedFd>,
    /// Whether that moves the memory of whoever does it. Then the child must not
    /// share the caller's.
    moves_memory: bool,
}

pub(in crate::process::spawn) fn start(launch: &Launch) -> Result<Launched, Failure> {
    let Some(placement) = &launch.placement else {
        let nothing = Joining {
            cgroup: None,
            files: Vec::new(),
            moves_memory: false,
        };
        return attempt(launch, &nothing);
    };
    if let Some(directory) = placement.directory() {
        let joining = Joining {
            cgroup: Some(directory.as_raw_fd()),
            files: placement.legacy().collect(),
            moves_memory: placement.moves_memory(),
        };
        match attempt(launch, &joining) {
            // Linux before 5.7 does not know the flag. What the kernel says of the
            // group itself is better told by writing to its file.
            Err((SpawnStage::Process, error)) if error.raw_os_error() != Some(libc::EAGAIN) => {}
            result => return result,
        }
    }
    let joining = Joining {
        cgroup: None,
        files: placement.all().collect(),
        // A group of version 2 may have memory nodes of its own, too.
        moves_memory: placement.directory().is_some() || placement.moves_memory(),
    };
    attempt(launch, &joining)
}

fn attempt(launch: &Launch, joining: &Joining<'_>) -> Result<Launched, Failure> {
    let argv = null_terminated(&launch.argv);
    let envp = null_terminated(&launch.envp);
    let descriptors: Vec<_> = launch
        .descriptors
        .iter()
        .map(|(fd, number)| (fd.as_raw_fd(), *number))
        .collect();
    let ranges: Vec<_> = launch
        .closed
        .iter()
        .map(|range| (range.start().cast_unsigned(), range.end().cast_unsigned()))
        .collect();
    let numbers = if ranges.is_empty() || has_close_range() {
        None
    } else {
        let numbers = left_open(&launch.closed);
        Some(numbers.map_err(|error| (SpawnStage::Descriptors, error))?)
    };
    let joined: Vec<_> = joining.files.iter().map(|file| file.as_raw_fd()).collect();
    let at_process = |error| (SpawnStage::Process, error);
    let page = joining.moves_memory.then(SharedPage::new).transpose();
    let page = page.map_err(at_process)?;
    let own = Cell::new(None);
    let failure = page.as_ref().map_or(&own, SharedPage::cell);
    let plan = Plan {
        argv: &argv,
        envp: &envp,
        current_dir: launch
            .current_dir
            .as_ref()
            .map_or(null(), |path| path.as_ptr()),
        session: launch.session,
        terminal: launch.terminal.as_ref().map(AsRawFd::as_raw_fd),
        parent_death: launch.parent_death.map(crate::process::Signal::number),
        caller: nix::unistd::getpid().as_raw(),
        cpus: launch.cpus.as_ref(),
        descriptors: &descriptors,
        closed: match &numbers {
            Some(numbers) => Closed::Numbers(numbers),
            None => Closed::Ranges(&ranges),
        },
        joined: &joined,
        failure,
    };
    let memory = if page.is_some() {
        0
    } else {
        libc::CLONE_VM as u64
    };
    let (pid, pidfd) = clone(&plan, memory, joining.cgroup).map_err(at_process)?;
    if let Some((stage, code)) = failure.get() {
        reap(&pidfd);
        return Err((stage, io::Error::from_raw_os_error(code)));
    }
    Ok(Launched {
        pid,
        pidfd: PidFd::from_fd(pidfd),
        mechanism: Mechanism::Clone3,
    })
}

/// The CPUs that the calling thread may use.
pub(in crate::process::spawn) fn own_cpus() -> Option<libc::cpu_set_t> {
    let mut cpus = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: it is writable memory of that size, in which all zeroes is a value.
    unsafe {
        let found = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), cpus.as_mut_ptr());
        (found == 0).then(|| cpus.assume_init())
    }
}

/// Whether there is such a system call here. Closes nothing: no descriptor has that
/// number.
fn has_close_range() -> bool {
    // SAFETY: it takes three numbers, and there is no such descriptor.
    unsafe { libc::syscall(libc::SYS_close_range, c_uint::MAX, c_uint::MAX, 0) == 0 }
}
