//! The system call instruction, and what the calls are numbered.

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const LSEEK: usize = 8;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MUNMAP: usize = 11;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const MREMAP: usize = 25;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const GETSOCKOPT: usize = 55;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const CHDIR: usize = 80;
    pub(crate) const UMASK: usize = 95;
    pub(crate) const GETEUID: usize = 107;
    pub(crate) const GETPPID: usize = 110;
    pub(crate) const SETSID: usize = 112;
    pub(crate) const GETPRIORITY: usize = 140;
    pub(crate) const SETPRIORITY: usize = 141;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const EPOLL_CTL: usize = 233;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const SPLICE: usize = 275;
    pub(crate) const EPOLL_PWAIT: usize = 281;
    pub(crate) const ACCEPT4: usize = 288;
    pub(crate) const SIGNALFD4: usize = 289;
    pub(crate) const EPOLL_CREATE1: usize = 291;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const PIPE2: usize = 293;
    pub(crate) const GETPGID: usize = 121;
    pub(crate) const PRLIMIT64: usize = 302;
    pub(crate) const CLOSE_RANGE: usize = 436;
    pub(crate) const FSYNC: usize = 74;
    pub(crate) const FCHMOD: usize = 91;
    pub(crate) const MKDIRAT: usize = 258;
    pub(crate) const UNLINKAT: usize = 263;
    pub(crate) const SYMLINKAT: usize = 266;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const FCHMODAT: usize = 268;
    pub(crate) const UTIMENSAT: usize = 280;
    pub(crate) const RENAMEAT2: usize = 316;
    pub(crate) const STATX: usize = 332;
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const EPOLL_CREATE1: usize = 20;
    pub(crate) const EPOLL_CTL: usize = 21;
    pub(crate) const EPOLL_PWAIT: usize = 22;
    pub(crate) const DUP3: usize = 24;
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const CHDIR: usize = 49;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const PIPE2: usize = 59;
    pub(crate) const GETDENTS64: usize = 61;
    pub(crate) const LSEEK: usize = 62;
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const SIGNALFD4: usize = 74;
    pub(crate) const SPLICE: usize = 76;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const KILL: usize = 129;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const SETPRIORITY: usize = 140;
    pub(crate) const GETPRIORITY: usize = 141;
    pub(crate) const SETSID: usize = 157;
    pub(crate) const UMASK: usize = 166;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const GETPID: usize = 172;
    pub(crate) const GETPPID: usize = 173;
    pub(crate) const GETEUID: usize = 175;
    pub(crate) const GETSOCKOPT: usize = 209;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const MUNMAP: usize = 215;
    pub(crate) const MREMAP: usize = 216;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const ACCEPT4: usize = 242;
    pub(crate) const WAIT4: usize = 260;
    pub(crate) const GETPGID: usize = 155;
    pub(crate) const PRLIMIT64: usize = 261;
    pub(crate) const CLOSE_RANGE: usize = 436;
    pub(crate) const FSYNC: usize = 82;
    pub(crate) const FCHMOD: usize = 52;
    pub(crate) const MKDIRAT: usize = 34;
    pub(crate) const UNLINKAT: usize = 35;
    pub(crate) const SYMLINKAT: usize = 36;
    pub(crate) const READLINKAT: usize = 78;
    pub(crate) const FCHMODAT: usize = 53;
    pub(crate) const UTIMENSAT: usize = 88;
    pub(crate) const RENAMEAT2: usize = 276;
    pub(crate) const STATX: usize = 291;
}

/// One system call. What it returns below zero is an error's number.
///
/// # Safety
///
/// As the call has it.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel changes rax, rcx and r11 and no others; for the rest the caller
    // vouches.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// The same for 64-bit Arm.
///
/// # Safety
///
/// As the call has it.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel changes x0 and no others; for the rest the caller vouches.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// Makes a process that shares this one's memory and runs `run(with)` on a stack of
/// its own, which ends at `stack`. The kernel writes 0 to `alive` when the process
/// has got memory of its own, by becoming another program, or has ended.
///
/// # Safety
///
/// The stack must be large enough, aligned, and left alone until then, as must be
/// what `with` points to; `run` must not return.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn clone<T>(
    flags: usize,
    stack: *mut u8,
    alive: *const u32,
    run: extern "C" fn(*const T) -> !,
    with: *const T,
) -> isize {
    let result;
    // In registers by name: one of the compiler's choice might be rbp.
    // SAFETY: the child has the registers of its parent, but for rax, which is 0, and the
    // stack pointer; `run` does not return.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "mov rdi, r13", "xor ebp, ebp",
            "call r12", "ud2", "2:",
            in("r12") run, in("r13") with,
            inlateout("rax") number::CLONE as isize => result,
            in("rdi") flags, in("rsi") stack, in("rdx") 0, in("r10") alive, in("r8") 0,
            out("rcx") _, out("r11") _);
    }
    result
}

/// The same for 64-bit Arm, where the arguments have another order.
///
/// # Safety
///
/// As there.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn clone<T>(
    flags: usize,
    stack: *mut u8,
    alive: *const u32,
    run: extern "C" fn(*const T) -> !,
    with: *const T,
) -> isize {
    let result;
    // SAFETY: the child has the registers of its parent, but for x0, which is 0, and the
    // stack pointer; `run` does not return.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, {with}",
            "blr {run}", "brk 1", "2:",
            with = in(reg) with, run = in(reg) run,
            in("x8") number::CLONE, inlateout("x0") flags as isize => result,
            in("x1") stack, in("x2") 0, in("x3") 0, in("x4") alive);
    }
    result
}
