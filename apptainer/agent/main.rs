//! The exec agent: started once in a container, it starts all commands there.
//!
//! A program without libc and without memory of its own to speak of, so that it runs in
//! any image. `PROTOCOL.md` says what it is told and tells; `build.rs` compiles it.
//!
//! ```text
//! agent LINK [LISTENER [relay]]
//! agent stream
//! agent files
//! ```
//!
//! `LINK` is the number of a socket to its first caller, `LISTENER` that of one at which
//! others may call. With `relay` it passes signals on to its commands, as the first program of an
//! instance. With `stream` its caller is at its standard input and output. With `files` it is
//! none, but a file server: a command that an agent has started.
#![no_std]
#![no_main]
#![warn(
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    unsafe_op_in_unsafe_fn
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a system call takes and gives machine words, whatever they stand for"
)]
#![expect(
    clippy::many_single_char_names,
    reason = "a system call's arguments have no other names"
)]

mod agent;
mod caller;
mod child;
#[expect(dead_code, reason = "each side uses its half")]
mod codec;
mod end;
mod files;
#[expect(dead_code, reason = "each side uses its half")]
mod files_protocol;
mod frame;
mod incoming;
mod intrinsics;
mod link;
mod mark;
mod pages;
mod places;
mod protocol;
mod relay;
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
mod wire;
mod words;

use core::ffi::CStr;
use core::mem::ManuallyDrop;

use agent::{Agent, Own};
use sys::{Errno, Fd, Result};

/// Exits with this when it cannot begin.
const CANNOT_BEGIN: i32 = 70;

/// What the program does with what it was given.
pub(crate) fn run(arguments: &[*const u8], environment: &'static [*const u8]) -> ! {
    if words(arguments).next() == Some(b"files") {
        files::serve()
    }
    match begin(arguments, environment) {
        Ok(mut agent) => agent.serve(),
        Err(_) => sys::exit(CANNOT_BEGIN),
    }
}

/// What it was started with, but for its own name.
fn words(arguments: &[*const u8]) -> impl Iterator<Item = &[u8]> {
    arguments.iter().skip(1).map(|argument| {
        // SAFETY: the kernel ends each argument with a NUL.
        unsafe { CStr::from_ptr((*argument).cast()) }.to_bytes()
    })
}

/// What it was told to serve.
enum Service {
    Link(Fd, Option<Fd>),
    Stream(Fd, Fd),
}

/// By what all processes of an instance are known that is supervised, this one too: a descriptor of
/// a locked file. See `room.rs`.
const ALIVE: i32 = 199;

/// Signals that are passed on: those that ask a program for something.
const RELAYED: [i32; 6] = [
    sys::SIGHUP,
    sys::SIGINT,
    sys::SIGQUIT,
    sys::SIGUSR1,
    sys::SIGUSR2,
    sys::SIGTERM,
];

fn begin(arguments: &[*const u8], environment: &'static [*const u8]) -> Result<Agent> {
    let mut words = words(arguments);
    let service = match words.next() {
        Some(b"stream") => {
            // SAFETY: they are open, and never dropped.
            let streams = [0, 1].map(|fd| ManuallyDrop::new(unsafe { Fd::own(fd) }));
            Service::Stream(sys::duplicate(&streams[0])?, sys::duplicate(&streams[1])?)
        }
        link => {
            let given = |word: &[u8]| {
                let fd = number(word).filter(|fd| *fd > 2).ok_or(Errno::INVAL)?;
                // SAFETY: it was given to us, and is named once.
                Ok(unsafe { Fd::own(fd) })
            };
            let link = given(link.ok_or(Errno::INVAL)?)?;
            Service::Link(link, words.next().map(given).transpose()?)
        }
    };
    let is_resident = words.next() == Some(b"relay");
    let alive = if is_resident { ALIVE } else { 0 };
    match &service {
        Service::Link(link, Some(listener)) => {
            keep_only([link, listener].map(Fd::number), alive)?;
        }
        Service::Link(link, None) => keep_only([link.number(); 2], alive)?,
        Service::Stream(input, output) => keep_only([input, output].map(Fd::number), alive)?,
    }
    let relayed: &[i32] = if is_resident { &RELAYED } else { &[] };
    let mut agent = Agent::new(take_over(environment)?, relayed)?;
    match service {
        Service::Link(link, listener) => {
            agent.connect(link)?;
            if let Some(listener) = listener {
                agent.listen(listener)?;
            }
        }
        Service::Stream(input, output) => agent.carry_frames(input, output)?,
    }
    Ok(agent)
}

/// Makes the process what an agent has to be; what it was before is what commands get.
fn take_over(environment: &'static [*const u8]) -> Result<Own> {
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
    Ok(Own {
        pid: sys::pid(),
        environment,
        mask,
        descriptors,
        most_locks: sys::limit(sys::RLIMIT_LOCKS, None)?.hard,
        token: [0; 16],
    })
}

/// Closes everything but these, which commands do not get, and the standard streams, which
/// are nobody's from then on. Of what is not there, nothing is kept.
fn keep_only(used: [i32; 2], alive: i32) -> Result<()> {
    let [one, other] = used;
    let mut kept = [one, other, alive];
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            sys::close_all(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    sys::close_all(first, i32::MAX);
    for fd in kept {
        // SAFETY: it is looked at and no more, and never dropped.
        let fd = ManuallyDrop::new(unsafe { Fd::own(fd) });
        let is_there = sys::fcntl(&fd, sys::F_SETFD, 1);
        if used.contains(&fd.number()) {
            is_there?;
            sys::fcntl(&fd, sys::F_SETFL, sys::O_NONBLOCK)?;
        }
    }
    let nothing = sys::open(c"/dev/null", sys::O_RDWR)?;
    for stream in 0..3 {
        sys::duplicate_to(nothing.number(), stream)?;
    }
    Ok(())
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
