//! A thread that lasts as long as this process.
//!
//! The kernel ties a child's life to the thread that made it, not to that thread's
//! process, so whatever is to end with the process is made here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sys::signal::SigSet;

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread, and the process that it is in: a fork has none of its
/// parent's threads.
static THREAD: Mutex<Option<(u32, Sender<Job>)>> = Mutex::new(None);

/// Runs `job` on the thread, and waits for what it returns.
pub(super) fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = channel();
    let job = Box::new(move || {
        // The thread outlives whatever happens in a job: with it would end all that
        // it has started. Whoever asked has waited, and goes on with the panic.
        let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
    });
    let gone = || io::Error::other("the thread that starts such processes is gone");
    sender()?.send(job).map_err(|_| gone())?;
    result
        .recv()
        .map_err(|_| gone())?
        .or_else(|panic| resume_unwind(panic))
}

fn sender() -> io::Result<Sender<Job>> {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let this = std::process::id();
    if let Some((process, sender)) = &*thread
        && *process == this
    {
        return Ok(sender.clone());
    }
    let (sender, jobs) = channel::<Job>();
    thread::Builder::new()
        .name("apptainer-spawn".to_owned())
        .spawn(move || {
            // The caller's signals are for the caller's threads.
            let _ = SigSet::all().thread_block();
            for job in jobs {
                job();
            }
        })?;
    *thread = Some((this, sender.clone()));
    Ok(sender)
}
