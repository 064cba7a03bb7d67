//! Where the program begins.

use core::arch::global_asm;
use core::slice;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {start}",
    "brk 1",
    start = sym start
);

/// What the kernel leaves on the stack: the number of arguments, pointers to them, a null,
/// pointers to the variables, a null.
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: this is the layout, and the memory stays as long as the program does.
    let (arguments, environment) = unsafe {
        let count = stack.read();
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(count + 1);
        let mut variables = 0;
        while !environment.add(variables).read().is_null() {
            variables += 1;
        }
        (
            slice::from_raw_parts(arguments, count),
            slice::from_raw_parts(environment, variables),
        )
    };
    crate::run(arguments, environment)
}
