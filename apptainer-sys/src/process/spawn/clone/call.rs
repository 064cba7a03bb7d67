//! The system call.
#![expect(unsafe_code, reason = "clone3 is in no library")]

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::child::{Plan, child, set_mask};
use crate::process::Pid;

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

/// Returns when the child has execed or exited.
///
/// `memory` is `CLONE_VM`, or nothing.
pub(super) fn clone(
    plan: &Plan<'_>,
    memory: u64,
    cgroup: Option<RawFd>,
) -> io::Result<(Pid, OwnedFd)> {
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
    let result = unsafe { clone3(&raw const args, size, plan) };
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
pub(super) fn reap(pidfd: &OwnedFd) {
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

/// The call itself. In the child it does not return but goes on in [`child`].
///
/// # Safety
///
/// `args` must ask for a child with an aligned stack of its own, and for this thread
/// to stand still while the child has this thread's memory.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
    let result: c_long;
    // The child has the registers of its parent, but for rax, which is 0, and the
    // stack pointer, which is at the end of its own stack.
    // SAFETY: the kernel changes rax, rcx and r11 and no others; `child` does not return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, {plan}",
            // Only now, for the plan may have been in there.
            "xor ebp, ebp",
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

/// The same for 64-bit Arm.
///
/// # Safety
///
/// As there.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
    let result: c_long;
    // SAFETY: the kernel changes x0 and no others; `child` does not return.
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

/// There is none for other architectures yet.
///
/// # Safety
///
/// It does nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(args: *const CloneArgs, size: usize, plan: &Plan<'_>) -> c_long {
    let _ = (args, size, plan, child as extern "C" fn(_) -> !);
    -c_long::from(libc::ENOSYS)
}
