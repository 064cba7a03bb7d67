//! What the child does until it execs.
//!
//! It allocates nothing, takes no lock, cannot panic, and makes nothing but system
//! calls, through functions of libc that are no more than that.
#![expect(unsafe_code, reason = "the child is made of system calls")]

use std::convert::Infallible;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::os::fd::RawFd;
use std::ptr::null_mut;

use super::page::FailureCell;
use crate::process::Pid;
use crate::process::spawn::{Session, SpawnStage};

/// What the child works through.
pub(super) struct Plan<'a> {
    pub(super) argv: &'a [*const c_char],
    pub(super) envp: &'a [*const c_char],
    /// Null for the caller's.
    pub(super) current_dir: *const c_char,
    pub(super) session: Session,
    pub(super) terminal: Option<RawFd>,
    pub(super) parent_death: Option<c_int>,
    pub(super) caller: Pid,
    /// The caller's CPUs, where another thread than the caller's makes the child.
    pub(super) cpus: Option<&'a libc::cpu_set_t>,
    pub(super) descriptors: &'a [(RawFd, RawFd)],
    pub(super) closed: Closed<'a>,
    /// Files that it writes itself into to be in a cgroup.
    pub(super) joined: &'a [RawFd],
    pub(super) failure: &'a FailureCell,
}

/// Which descriptors the child closes.
pub(super) enum Closed<'a> {
    Ranges(&'a [(c_uint, c_uint)]),
    /// Where there is no `close_range`: Linux before 5.9, and filters.
    Numbers(&'a [RawFd]),
}

/// Where the child begins.
pub(super) extern "C" fn child(plan: *const c_void) -> ! {
    // SAFETY: `clone` passes a plan, which lives until this process has execed or
    // exited, for the caller stands still until then.
    let plan = unsafe { &*plan.cast::<Plan<'_>>() };
    // SAFETY: this is the new process, which `clone` made for it.
    let Err(failure) = unsafe { become_program(plan) };
    plan.failure.set(Some(failure));
    // SAFETY: it ends this process alone, and runs nothing of the caller's.
    unsafe { libc::_exit(127) }
}

/// # Safety
///
/// Only for a process that is about to exec, for it changes all that it is.
unsafe fn become_program(plan: &Plan<'_>) -> Result<Infallible, (SpawnStage, c_int)> {
    let checked = |stage: SpawnStage, result: c_int| {
        if result < 0 {
            Err((stage, errno()))
        } else {
            Ok(())
        }
    };
    // SAFETY: these are system calls on numbers, and on pointers into the plan,
    // whose strings end in NUL and whose arrays end in a null.
    unsafe {
        for file in plan.joined {
            // Not by libc's function, at which a thread may be cancelled.
            let written = libc::syscall(libc::SYS_write, *file, c"0".as_ptr(), 1_usize);
            checked(SpawnStage::Cgroup, if written == 1 { 0 } else { -1 })?;
        }
        match plan.session {
            Session::Inherit => {}
            Session::NewGroup => checked(SpawnStage::Session, libc::setpgid(0, 0))?,
            Session::NewSession => checked(SpawnStage::Session, libc::setsid())?,
        }
        if let Some(terminal) = plan.terminal {
            let taken = libc::ioctl(terminal, libc::TIOCSCTTY, 0);
            checked(SpawnStage::Session, taken)?;
        }
        for (from, to) in plan.descriptors {
            checked(SpawnStage::Descriptors, libc::dup2(*from, *to))?;
        }
        match plan.closed {
            Closed::Ranges(ranges) => {
                for (first, last) in ranges {
                    let closed = libc::syscall(libc::SYS_close_range, *first, *last, 0);
                    checked(SpawnStage::Descriptors, if closed == 0 { 0 } else { -1 })?;
                }
            }
            Closed::Numbers(numbers) => {
                for number in numbers {
                    libc::syscall(libc::SYS_close, *number);
                }
            }
        }
        if !plan.current_dir.is_null() {
            checked(SpawnStage::Directory, libc::chdir(plan.current_dir))?;
        }
        let mut ignore_not: libc::sigaction = std::mem::zeroed();
        ignore_not.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGPIPE, &raw const ignore_not, null_mut());
        if let Some(signal) = plan.parent_death {
            checked(
                SpawnStage::ParentDeath,
                libc::prctl(libc::PR_SET_PDEATHSIG, signal),
            )?;
            // Before that, the caller's death would have gone unnoticed. From another
            // PID namespace it has the number 0.
            let parent = libc::getppid();
            if parent != plan.caller && parent != 0 {
                return Err((SpawnStage::ParentDeath, libc::ESRCH));
            }
        }
        if let Some(cpus) = plan.cpus {
            // It runs on others at worst.
            libc::sched_setaffinity(0, size_of_val(cpus), cpus);
        }
        set_mask(0);
        let program = plan.argv.as_ptr().read();
        libc::execve(program, plan.argv.as_ptr(), plan.envp.as_ptr());
    }
    Err((SpawnStage::Exec, errno()))
}

fn errno() -> c_int {
    // SAFETY: it is this thread's own, at an address that stays.
    unsafe { *libc::__errno_location() }
}

/// Blocks exactly these signals in this thread; returns which were.
///
/// The kernel's own sets have a bit for each of 64 signals.
pub(super) fn set_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both pointers are to 8 bytes, which is the size that is given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            size_of::<u64>(),
        )
    };
    before
}
