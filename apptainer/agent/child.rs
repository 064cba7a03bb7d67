//! What a new process does until it is its program.
//!
//! It shares the agent's memory, on a stack of its own, while the agent goes on: it
//! writes nowhere but there, to its slot and to its pointers, and calls nothing but the
//! kernel.

use core::convert::Infallible;
use core::ffi::CStr;

use crate::protocol::{Limits, Stage};
use crate::slot::Slot;
use crate::sys::{self, Errno, Rlimit};

/// What it works through.
pub(crate) struct Plan {
    pub(crate) slot: *const Slot,
    pub(crate) agent: i32,
    /// Numbers above 2.
    pub(crate) streams: [i32; 3],
    /// Whether they are a terminal that is to be its session's.
    pub(crate) has_terminal: bool,
    /// What it has beside its streams. A number above 2.
    pub(crate) side_channel: Option<i32>,
    /// What the agent has the other end of, to see when this is its program.
    pub(crate) start: Option<i32>,
    /// The signals that the agent itself was started with blocked.
    pub(crate) mask: u64,
    /// By which what it starts is known again.
    pub(crate) mark: Rlimit,
    /// How many descriptors the agent itself was given.
    pub(crate) descriptors: Rlimit,
    pub(crate) limits: Limits<'static>,
    pub(crate) nice: i32,
    pub(crate) umask: Option<u32>,
    pub(crate) directory: *const u8,
    pub(crate) argv: *mut *const u8,
    pub(crate) envp: *const *const u8,
    pub(crate) path: *const u8,
}

/// Where it begins.
pub(crate) extern "C" fn child(plan: *const Plan) -> ! {
    // SAFETY: the plan is in the slot, which stays until this process is done with it.
    let plan = unsafe { &*plan };
    let Err((stage, error)) = become_program(plan);
    // SAFETY: as above.
    unsafe { &*plan.slot }.fail(stage, error);
    sys::exit(127)
}

type Failure = (Stage, Errno);

fn become_program(plan: &Plan) -> Result<Infallible, Failure> {
    let at = |stage| move |error| (stage, error);
    // SAFETY: the option takes a signal's number.
    unsafe { sys::prctl(sys::PR_SET_PDEATHSIG, sys::SIGKILL as usize) }
        .map_err(at(Stage::Lifeline))?;
    // Before that, the agent's death would have gone unnoticed.
    if sys::parent() != plan.agent {
        return Err((Stage::Lifeline, Errno::SRCH));
    }
    sys::new_session().map_err(at(Stage::Session))?;
    if plan.has_terminal {
        const TIOCSCTTY: usize = 0x540e;
        // SAFETY: it takes a number.
        unsafe { sys::ioctl(plan.streams[0], TIOCSCTTY, 0) }.map_err(at(Stage::Terminal))?;
    }
    for (from, to) in plan.streams.into_iter().zip(0..) {
        sys::duplicate_to(from, to).map_err(at(Stage::Descriptors))?;
    }
    let mut kept = plan.start;
    if let Some(from) = plan.side_channel {
        if kept == Some(SIDE_CHANNEL) {
            kept = Some(sys::duplicate_above(SIDE_CHANNEL).map_err(at(Stage::Descriptors))?);
        }
        move_to_side(from).map_err(at(Stage::Descriptors))?;
    }
    // They would be closed when this is its program, which may take long: what the agent lets go
    // of meanwhile, as the input of another command, is to be closed then.
    let first = 3 + i32::from(plan.side_channel.is_some());
    close_others(first, kept);
    // Where no other limit is allowed, there still is the variable.
    let _ = sys::limit(sys::RLIMIT_LOCKS, Some(plan.mark));
    sys::limit(sys::RLIMIT_NOFILE, Some(plan.descriptors)).map_err(at(Stage::Limits))?;
    for limit in plan.limits.iter() {
        let (soft, hard) = (limit.soft, limit.hard);
        sys::limit(limit.resource, Some(Rlimit { soft, hard })).map_err(at(Stage::Limits))?;
    }
    if plan.nice != 0 {
        sys::add_nice(plan.nice).map_err(at(Stage::Limits))?;
    }
    if let Some(mask) = plan.umask {
        sys::set_umask(mask);
    }
    // SAFETY: it is a word, which ends in a NUL.
    if unsafe { plan.directory.read() } != 0 {
        sys::change_directory(plan.directory).map_err(at(Stage::Directory))?;
    }
    sys::set_mask(plan.mask);
    Err((Stage::Exec, run(plan)))
}

/// The number of what a command has beside its streams.
const SIDE_CHANNEL: i32 = 3;

fn move_to_side(from: i32) -> Result<(), Errno> {
    if from == SIDE_CHANNEL {
        return sys::keep_on_exec(from);
    }
    sys::duplicate_to(from, SIDE_CHANNEL)
}

/// Closes what is not the program's, but for this.
fn close_others(first: i32, kept: Option<i32>) {
    let Some(kept) = kept else {
        return sys::close_all(first, i32::MAX);
    };
    if kept > first {
        sys::close_all(first, kept - 1);
    }
    sys::close_all(kept + 1, i32::MAX);
}

/// Becomes the program, as execvp(3) looks for it; returns why not.
fn run(plan: &Plan) -> Errno {
    const DEFAULT: &CStr = c"/bin:/usr/bin";
    // SAFETY: there is at least one word, and all end in a NUL.
    let program = unsafe { CStr::from_ptr(plan.argv.read().cast()) };
    let program = program.to_bytes_with_nul();
    if program.len() == 1 {
        return Errno::NOENT;
    }
    if program.contains(&b'/') {
        return execute(plan, program.as_ptr());
    }
    let path = if plan.path.is_null() {
        DEFAULT
    } else {
        // SAFETY: it is within a word.
        unsafe { CStr::from_ptr(plan.path.cast()) }
    };
    let mut found = Errno::NOENT;
    let mut buffer = [0_u8; 4096];
    for folder in path.to_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let length = folder.len() + 1 + program.len();
        if length > buffer.len() {
            found = Errno::NAMETOOLONG;
            continue;
        }
        buffer[..folder.len()].copy_from_slice(folder);
        buffer[folder.len()] = b'/';
        buffer[folder.len() + 1..length].copy_from_slice(program);
        // By this it is called, too: so an `apptainer exec` does it.
        // SAFETY: there is at least one word, and the buffer outlives the attempt.
        unsafe { plan.argv.write(buffer.as_ptr()) };
        match execute(plan, buffer.as_ptr()) {
            Errno::NOENT | Errno::NOTDIR => {}
            // There may be another behind it.
            Errno::ACCES => found = Errno::ACCES,
            error => return error,
        }
    }
    found
}

/// Becomes the program at `path`: what the kernel knows no format of is a shell's.
fn execute(plan: &Plan, path: *const u8) -> Errno {
    // SAFETY: the arrays end in a null, and their words in a NUL.
    let error = unsafe { sys::execve(path, plan.argv, plan.envp) };
    if error != Errno::NOEXEC {
        return error;
    }
    let shell = c"/bin/sh";
    // SAFETY: a place is free before the first argument, which the path replaces.
    unsafe {
        let argv = plan.argv.sub(1);
        argv.write(shell.as_ptr().cast());
        let name = plan.argv.read();
        plan.argv.write(path);
        sys::execve(shell.as_ptr().cast(), argv, plan.envp);
        plan.argv.write(name);
    }
    Errno::NOEXEC
}
