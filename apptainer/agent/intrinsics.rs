//! What the compiler calls by itself and libc would otherwise have.
//!
//! Written in assembly where it matters: a loop in Rust is what the compiler turns
//! into a call of these very functions.

use core::arch::asm;

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for both ranges; the direction flag is clear, as the
    // ABI has it.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        asm!("cbz {n}, 2f", "1: ldrb {b:w}, [{f}], #1", "strb {b:w}, [{t}], #1",
            "subs {n}, {n}, #1", "b.ne 1b", "2:",
            n = inout(reg) length => _, f = inout(reg) from => _, t = inout(reg) to => _,
            b = out(reg) _, options(nostack));
    }
    to
}

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: forwards, no byte is overwritten before it has been read.
        return unsafe { memcpy(to, from, length) };
    }
    let mut left = length;
    while left > 0 {
        left -= 1;
        // SAFETY: it is within both ranges. Volatile, so that it stays a loop.
        unsafe { to.add(left).write_volatile(from.add(left).read()) };
    }
    to
}

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for the range; the direction flag is clear.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller vouches for the range.
    unsafe {
        asm!("cbz {n}, 2f", "1: strb {v:w}, [{t}], #1", "subs {n}, {n}, #1", "b.ne 1b", "2:",
            n = inout(reg) length => _, t = inout(reg) to => _, v = in(reg) value,
            options(nostack));
    }
    to
}

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    let mut at = 0;
    while at < length {
        // SAFETY: it is within both ranges.
        let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: the caller vouches for both ranges.
    unsafe { memcmp(one, other, length) }
}

/// # Safety
///
/// As C has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller vouches for a NUL, and nothing is read behind it.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Unwinding there is none; the compiler's own library asks for a name.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
