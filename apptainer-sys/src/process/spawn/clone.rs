//! `clone3`.
//!
//! The child shares the caller's memory, and the calling thread stands still,
//! until it execs or exits: `CLONE_VM | CLONE_VFORK`, as `posix_spawn` has it. So
//! what the child does, [`become_program`], touches nothing but what was prepared
//! for it: it allocates nothing, takes no lock, cannot panic, and makes nothing but
//! system calls, through functions of libc that are no more than that.
#![expect(unsafe_code, reason = "clone3 is in no library")]

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{NonNull, null, null_mut};

use super::launch::{Failure, Launch, Launched, Mechanism};
use super::stdio::left_open;
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
    /// The caller's CPUs, where another thread than the caller's makes the child.
    cpus: Option<&'a libc::cpu_set_t>,
    descriptors: &'a [(RawFd, RawFd)],
    closed: Closed<'a>,
    /// Files that it writes itself into to be in a cgroup.
    joined: &'a [RawFd],
    failure: &'a FailureCell,
}

/// Which descriptors the child closes.
enum Closed<'a> {
    Ranges(&'a [(c_uint, c_uint)]),
    /// Where there is no `close_range`: Linux before 5.9, and filters.
    Numbers(&'a [RawFd]),
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

pub(super) fn start(launch: &Launch) -> Result<Launched, Failure> {
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
pub(super) fn own_cpus() -> Option<libc::cpu_set_t> {
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

type FailureCell = Cell<Option<(SpawnStage, c_int)>>;

/// Memory that a child has in common with its parent although it has its own.
struct SharedPage(NonNull<FailureCell>);

impl SharedPage {
    const LENGTH: usize = size_of::<FailureCell>();

    fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: it asks for memory of its own, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(null_mut(), Self::LENGTH, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let cell = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: it is a page, which is aligned for anything, and large enough.
        unsafe { cell.write(Cell::new(None)) };
        Ok(Self(cell))
    }

    fn cell(&self) -> &FailureCell {
        // SAFETY: `new` initialised it, and it is mapped until this is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and nothing refers to it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::LENGTH) };
    }
}

pub(super) fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([null()]).collect()
}

/// Returns when the child has execed or exited.
///
/// `memory` is `CLONE_VM`, or nothing.
fn clone(plan: &Plan<'_>, memory: u64, cgroup: Option<RawFd>) -> io::Result<(Pid, OwnedFd)> {
    // Far more than the child's few frames need, in a debug build too.
    const STACK: usize = 64 * 1024;
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: memory | (libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
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
