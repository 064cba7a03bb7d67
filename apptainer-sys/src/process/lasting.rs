//! A thread that lasts as long as this process.
//!
//! The kernel ties a child's life to the thread that made it, not to that thread's
//! process, so whatever is to end with the process is made here.

use std::io;
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
        // Whoever asked has waited for it.
        let _ = done.send(job());
    });
    let gone = || io::Error::other("the thread that starts such processes is gone");
    sender()?.send(job).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
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
        .stack_size(128 * 1024)
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
