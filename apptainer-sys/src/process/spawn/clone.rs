//! `clone3`.
//!
//! The child shares the caller's memory, and the calling thread stands still,
//! until it execs or exits: `CLONE_VM | CLONE_VFORK`, as `posix_spawn` has it. So
//! what the child does, [`become_program`], touches nothing but what was prepared
//! for it: it allocates nothing, takes no lock, cannot panic, and calls only what
//! signal-safety(7) lists, or bare system calls.
#![expect(unsafe_code, reason = "clone3 is in no library")]

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

use super::launch::{Failure, Launch, Launched, Mechanism};
use super::{Session, SpawnStage};
use crate::process::{Pid, PidFd};

/// What the child works through.
struct Plan<'a> {
    argv: &'a [*const c_char],
    envp: &'a [*const c_char],
    /// Null for the caller's.
    current_dir: *const c_char,
    session: Session,
    terminal: Option<RawFd>,
    parent_death: Option<c_int>,
    caller: Pid,
    descriptors: &'a [(RawFd, RawFd)],
    closed: &'a [(c_uint, c_uint)],
    /// Files that it writes itself into to be in a cgroup.
    joined: &'a [RawFd],
    failure: Cell<Option<(SpawnStage, c_int)>>,
}

/// Of linux/sched.h; 5.5 has the first, 5.7 the second.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What its first release knew, without `set_tid` and `cgroup`.
const CLONE_ARGS_SIZE_VER0: usize = 64;

pub(super) fn start(launch: &Launch) -> Result<Launched, Failure> {
    let Some(placement) = &launch.placement else {
        return attempt(launch, None, &[]);
    };
    let numbers = |fds: Vec<&OwnedFd>| fds.into_iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>();
    let Some(directory) = placement.directory() else {
        return attempt(launch, None, &numbers(placement.all().collect()));
    };
    let legacy = numbers(placement.legacy().collect());
    match attempt(launch, Some(directory.as_raw_fd()), &legacy) {
        // Linux before 5.7 does not know the flag. What the kernel says of the
        // group itself is better told by writing to its file.
        Err((SpawnStage::Process, error)) if error.raw_os_error() != Some(libc::EAGAIN) => {
            attempt(launch, None, &numbers(placement.all().collect()))
        }
        result => result,
    }
}

fn attempt(launch: &Launch, cgroup: Option<RawFd>, joined: &[RawFd]) -> Result<Launched, Failure> {
    let argv = null_terminated(&launch.argv);
    let envp = null_terminated(&launch.envp);
    let descriptors: Vec<_> = launch
        .descriptors
        .iter()
        .map(|(fd, number)| (fd.as_raw_fd(), *number))
        .collect();
    let closed: Vec<_> = launch
        .closed
        .iter()
        .map(|range| (range.start().cast_unsigned(), range.end().cast_unsigned()))
        .collect();
    let plan = Plan {
        argv: &argv,
        envp: &envp,
        current_dir: launch
            .current_dir
            .as_ref()
            .map_or(null(), |path| path.as_ptr()),
        session: launch.session,
        terminal: launch.terminal.as_ref().map(|(fd, _)| fd.as_raw_fd()),
        parent_death: launch.parent_death.map(crate::process::Signal::number),
        caller: nix::unistd::getpid().as_raw(),
        descriptors: &descriptors,
        closed: &closed,
        joined,
        failure: Cell::new(None),
    };
    let (pid, pidfd) = clone(&plan, cgroup).map_err(|error| (SpawnStage::Process, error))?;
    if let Some((stage, code)) = plan.failure.get() {
        reap(&pidfd);
        return Err((stage, io::Error::from_raw_os_error(code)));
    }
    Ok(Launched {
        pid,
        pidfd: PidFd::from_fd(pidfd),
        mechanism: Mechanism::Clone3,
    })
}

pub(super) fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([null()]).collect()
}

/// Returns when the child has execed or exited.
fn clone(plan: &Plan<'_>, cgroup: Option<RawFd>) -> io::Result<(Pid, OwnedFd)> {
    // Far more than the child's few frames need, in a debug build too.
    const STACK: usize = 64 * 1024;
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
            | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    let mut size = CLONE_ARGS_SIZE_VER0;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.cast_unsigned());
        size = size_of::<CloneArgs>();
    }
    // No handler of the caller's may run in the child, where it would change the
    // caller's memory; the child lets signals through once there are none.
    let blocked = Mask::all();
    // SAFETY: `args` is what the kernel takes, its stack is ours alone and large
    // enough, and the child runs `child`, which does not return.
    let result = unsafe { arch::clone3(&raw const args, size, plan) };
    drop(blocked);
    if result < 0 {
        let code = c_int::try_from(-result).unwrap_or(libc::EINVAL);
        return Err(io::Error::from_raw_os_error(code));
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = Pid::try_from(result).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((pid, pidfd))
}

/// Waits for a child that could not become its program.
fn reap(pidfd: &OwnedFd) {
    let id = pidfd.as_raw_fd().cast_unsigned();
    let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: the descriptor is open, and `info` is writable memory of the right type.
    while unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), libc::WEXITED) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Signals that are blocked until this is dropped.
struct Mask(u64);

impl Mask {
    /// All, also those that libc keeps for itself.
    fn all() -> Self {
        Self(set_mask(u64::MAX))
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        set_mask(self.0);
    }
}

/// Blocks exactly these signals in this thread; returns which were.
///
/// The kernel's own sets have a bit for each of 64 signals.
fn set_mask(mask: u64) -> u64 {
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

/// Where the child begins.
extern "C" fn child(plan: *const c_void) -> ! {
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
            let written = libc::write(*file, c"0".as_ptr().cast(), 1);
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
        for (first, last) in plan.closed {
            checked(SpawnStage::Descriptors, close_range(*first, *last))?;
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
            // Before that, the caller's death would have gone unnoticed.
            if libc::getppid() != plan.caller {
                return Err((SpawnStage::ParentDeath, libc::ESRCH));
            }
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

/// Closes all descriptors from `first` to `last`.
///
/// # Safety
///
/// Nothing in this process may use them any more.
unsafe fn close_range(first: c_uint, last: c_uint) -> c_int {
    // SAFETY: the caller's; the call itself takes three numbers.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) == 0 {
            return 0;
        }
        if errno() != libc::ENOSYS {
            return -1;
        }
        // Linux before 5.9: one by one, as far as there can be any.
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) < 0 {
            return -1;
        }
        let mut number = first;
        while number <= last && u64::from(number) < limit.rlim_cur {
            libc::close(number.cast_signed());
            number = number.wrapping_add(1);
        }
    }
    0
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{CloneArgs, Plan, c_long, child};

    /// # Safety
    ///
    /// `args` must ask for a child that shares memory, with a stack of its own, and
    /// for this thread to stand still meanwhile.
    pub(super) unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
        let result: c_long;
        // SAFETY: the kernel changes rax, rcx and r11 and no others. The child has
        // the registers of its parent but for rax, which is 0, and the stack
        // pointer, which is at the aligned end of its own stack; it leaves by
        // `child`, which does not return.
        unsafe {
            std::arch::asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, {plan}",
                "call {child}",
                "ud2",
                "2:",
                plan = in(reg) std::ptr::from_ref(plan),
                child = sym child,
                inlateout("rax") libc::SYS_clone3 => result,
                in("rdi") args,
                in("rsi") size,
                out("rcx") _,
                out("r11") _,
            );
        }
        result
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{CloneArgs, Plan, c_long, child};

    /// # Safety
    ///
    /// `args` must ask for a child that shares memory, with a stack of its own, and
    /// for this thread to stand still meanwhile.
    pub(super) unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
        let result: c_long;
        // SAFETY: the kernel changes x0 and no others. The child has the registers
        // of its parent but for x0, which is 0, and the stack pointer, which is at
        // the aligned end of its own stack; it leaves by `child`, which does not
        // return.
        unsafe {
            std::arch::asm!(
                "svc 0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "mov x0, {plan}",
                "bl {child}",
                "brk 1",
                "2:",
                plan = in(reg) std::ptr::from_ref(plan),
                child = sym child,
                in("x8") libc::SYS_clone3,
                inlateout("x0") args => result,
                in("x1") size,
            );
        }
        result
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    use super::{CloneArgs, Plan, c_long, child};

    /// There is none for this architecture yet.
    ///
    /// # Safety
    ///
    /// It does nothing.
    pub(super) unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
        let _ = (args, size, plan, child as extern "C" fn(_) -> !);
        -c_long::from(libc::ENOSYS)
    }
}
