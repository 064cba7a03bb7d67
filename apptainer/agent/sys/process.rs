//! Of processes: signals, ends, limits, and becoming a program.

use core::ptr;

use super::{Errno, Fd, O_CLOEXEC, O_NONBLOCK, Result, call, opened};
use crate::syscall::{number, syscall};

pub(crate) const SIGHUP: i32 = 1;
pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGQUIT: i32 = 3;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGUSR1: i32 = 10;
pub(crate) const SIGUSR2: i32 = 12;
pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGCHLD: i32 = 17;
pub(crate) const SIGSTOP: i32 = 19;

/// Blocks exactly these signals, a bit for each; returns which were.
pub(crate) fn set_mask(mask: u64) -> u64 {
    const SIG_SETMASK: usize = 2;
    let mut before = 0_u64;
    let arguments = [
        SIG_SETMASK,
        &raw const mask as usize,
        &raw mut before as usize,
        8,
    ];
    // SAFETY: both are 8 bytes, which is the size that is given.
    let _ = unsafe { call(number::RT_SIGPROCMASK, &arguments) };
    before
}

pub(crate) fn signal_fd(mask: u64) -> Result<Fd> {
    let at = &raw const mask as usize;
    let flags = O_CLOEXEC | O_NONBLOCK;
    // SAFETY: the mask is 8 bytes, which is the size that is given.
    unsafe { opened(number::SIGNALFD4, &[-1_isize as usize, at, 8, flags]) }
}

/// `struct rusage`, as the kernel writes it.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Rusage {
    pub(crate) user: [i64; 2],
    pub(crate) system: [i64; 2],
    pub(crate) max_resident: i64,
    _unused: [i64; 3],
    pub(crate) minor_faults: i64,
    pub(crate) major_faults: i64,
    _swaps: i64,
    pub(crate) blocks_read: i64,
    pub(crate) blocks_written: i64,
    _unused_too: [i64; 3],
    pub(crate) voluntary_switches: i64,
    pub(crate) involuntary_switches: i64,
}

/// Reaps a child that has ended: its pid, its status and what it used. 0 when none has.
pub(crate) fn reap() -> Result<(i32, i32, Rusage)> {
    const WNOHANG: usize = 1;
    let (mut status, mut usage) = (0_i32, Rusage::default());
    let arguments = [
        -1_isize as usize,
        &raw mut status as usize,
        WNOHANG,
        &raw mut usage as usize,
    ];
    // SAFETY: both are what the kernel writes.
    let pid = unsafe { call(number::WAIT4, &arguments) }?;
    Ok((pid as i32, status, usage))
}

pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: it takes numbers.
    unsafe { call(number::KILL, &[pid as isize as usize, signal as usize]) }.map(drop)
}

pub(crate) fn pid() -> i32 {
    // SAFETY: it takes nothing, and does not fail.
    unsafe { syscall(number::GETPID, [0; 6]) as i32 }
}

/// The process group that it is in.
pub(crate) fn group() -> Result<i32> {
    // SAFETY: it takes a number.
    unsafe { call(number::GETPGID, &[0]) }.map(|group| group as i32)
}

pub(crate) fn parent() -> i32 {
    // SAFETY: it takes nothing, and does not fail.
    unsafe { syscall(number::GETPPID, [0; 6]) as i32 }
}

pub(crate) fn user() -> u32 {
    // SAFETY: it takes nothing, and does not fail.
    unsafe { syscall(number::GETEUID, [0; 6]) as u32 }
}

pub(crate) fn new_session() -> Result<()> {
    // SAFETY: it takes nothing.
    unsafe { call(number::SETSID, &[]) }.map(drop)
}

pub(crate) fn change_directory(path: *const u8) -> Result<()> {
    // SAFETY: those who call it have a path that ends in a NUL; a bad one is an error.
    unsafe { call(number::CHDIR, &[path as usize]) }.map(drop)
}

pub(crate) fn set_umask(mask: u32) {
    // SAFETY: it takes a number, and does not fail.
    unsafe { syscall(number::UMASK, [mask as usize, 0, 0, 0, 0, 0]) };
}

pub(crate) const PR_SET_PDEATHSIG: usize = 1;
pub(crate) const PR_SET_NAME: usize = 15;
pub(crate) const PR_SET_CHILD_SUBREAPER: usize = 36;

/// # Safety
///
/// As the option has it.
pub(crate) unsafe fn prctl(option: usize, value: usize) -> Result<()> {
    // SAFETY: the caller vouches.
    unsafe { call(number::PRCTL, &[option, value, 0, 0, 0]) }.map(drop)
}

/// Two limits of a resource.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Rlimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

pub(crate) const RLIMIT_NOFILE: u8 = 7;
pub(crate) const RLIMIT_LOCKS: u8 = 10;

/// Sets a limit of this process's; returns the one before.
pub(crate) fn limit(resource: u8, new: Option<Rlimit>) -> Result<Rlimit> {
    limit_of(0, resource, new)
}

/// The same of another process's; 0 is this one.
pub(crate) fn limit_of(pid: i32, resource: u8, new: Option<Rlimit>) -> Result<Rlimit> {
    let mut before = Rlimit::default();
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    let arguments = [
        pid as usize,
        usize::from(resource),
        new as usize,
        &raw mut before as usize,
    ];
    // SAFETY: the pointers are to limits, or null.
    unsafe { call(number::PRLIMIT64, &arguments) }?;
    Ok(before)
}

/// Adds to this process's niceness.
pub(crate) fn add_nice(by: i32) -> Result<()> {
    // SAFETY: both take numbers. The first returns 20 less the niceness.
    unsafe {
        let now = 20 - call(number::GETPRIORITY, &[0, 0])? as i32;
        call(number::SETPRIORITY, &[0, 0, (now + by) as isize as usize])?;
    }
    Ok(())
}

/// Becomes another program; returns only why not.
///
/// # Safety
///
/// All three are as execve(2) takes them.
pub(crate) unsafe fn execve(
    path: *const u8,
    argv: *const *const u8,
    envp: *const *const u8,
) -> Errno {
    let arguments = [path as usize, argv as usize, envp as usize];
    // SAFETY: the caller vouches.
    match unsafe { call(number::EXECVE, &arguments) } {
        Err(error) => error,
        Ok(_) => Errno::INVAL,
    }
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: it ends the process.
        unsafe { syscall(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    }
}
