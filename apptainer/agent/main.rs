//! The exec agent: started once in a container, it starts all commands there.
//!
//! A program without libc and without memory of its own to speak of, so that it runs in
//! any image. `PROTOCOL.md` says what it is told and tells; `build.rs` compiles it.
//!
//! ```text
//! agent LINK [LISTENER]
//! ```
//!
//! `LINK` is the number of a socket to its first caller, `LISTENER` that of one at which
//! others may call.
#![no_std]
#![no_main]

mod agent;
mod child;
mod intrinsics;
mod mark;
mod pages;
#[expect(dead_code, reason = "each side uses its half")]
mod protocol;
mod slot;
mod socket;
mod spawn;
mod start;
mod status;
mod sys;
mod syscall;
mod table;
mod terminal;
mod tree;
mod words;

use core::ffi::CStr;

use agent::{Agent, Own};
use sys::{Errno, Fd, Result};

/// Exits with this when it cannot begin.
const CANNOT_BEGIN: i32 = 70;

/// What the program does with what it was given.
pub(crate) fn run(arguments: &[*const u8], environment: &'static [*const u8]) -> ! {
    match begin(arguments, environment) {
        Ok(mut agent) => agent.serve(),
        Err(_) => sys::exit(CANNOT_BEGIN),
    }
}

fn begin(arguments: &[*const u8], environment: &'static [*const u8]) -> Result<Agent> {
    let mut fds = [None, None];
    for (fd, argument) in fds.iter_mut().zip(arguments.iter().skip(1)) {
        // SAFETY: the kernel ends each argument with a NUL.
        let digits = unsafe { CStr::from_ptr((*argument).cast()) }.to_bytes();
        *fd = Some(number(digits).ok_or(Errno::INVAL)?);
    }
    let [link, listener] = fds;
    let link = link.ok_or(Errno::INVAL)?;
    keep_only(link, listener)?;
    // SAFETY: they were given to us, and are named once.
    let (link, listener) = unsafe { (Fd::own(link), listener.map(|fd| Fd::own(fd))) };
    let is_unblocked = sys::fcntl(&link, sys::F_SETFL, sys::O_NONBLOCK);
    is_unblocked?;
    let name = c"apptainer-agent";
    // SAFETY: the first option takes a text that ends in a NUL, the second a number.
    unsafe {
        sys::prctl(sys::PR_SET_NAME, name.as_ptr() as usize)?;
        sys::prctl(sys::PR_SET_CHILD_SUBREAPER, 1)?;
    }
    let mask = sys::set_mask(u64::MAX);
    let descriptors = sys::limit(sys::RLIMIT_NOFILE, None)?;
    let most = sys::Rlimit {
        soft: descriptors.hard,
        hard: descriptors.hard,
    };
    // It has one of each of its commands. Fewer is no reason not to begin.
    let _ = sys::limit(sys::RLIMIT_NOFILE, Some(most));
    let own = Own {
        pid: sys::pid(),
        environment,
        mask,
        descriptors,
        token: [0; 16],
    };
    Agent::new(own, link, listener)
}

/// Closes everything but these, which commands do not get, and the streams, which are
/// nobody's from then on.
fn keep_only(link: i32, listener: Option<i32>) -> Result<()> {
    let mut kept = [link, listener.unwrap_or(link)];
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd < 3 {
            return Err(Errno::BADF);
        }
        if fd > first {
            close(first, fd - 1);
        }
        first = first.max(fd + 1);
        // SAFETY: it is not dropped.
        let owned = core::mem::ManuallyDrop::new(unsafe { Fd::own(fd) });
        sys::fcntl(&owned, sys::F_SETFD, 1)?;
    }
    close(first, i32::MAX);
    let nothing = sys::open(c"/dev/null", sys::O_RDWR)?;
    for stream in 0..3 {
        sys::duplicate_to(nothing.number(), stream)?;
    }
    Ok(())
}

fn close(first: i32, last: i32) {
    if sys::close_range(first.unsigned_abs(), last.unsigned_abs()).is_err() {
        // Linux before 5.9. What it was started with has low numbers.
        (first..=last.min(1023)).for_each(sys::close_number);
    }
}

fn number(digits: &[u8]) -> Option<i32> {
    let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(number).filter(|number| *number >= 0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // What it started ends with it, and the other end of its links sees that.
    sys::exit(101)
}
