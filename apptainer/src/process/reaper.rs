//! One thread that waits for the processes nobody else waits for.
//!
//! It needs no runtime, so a process that is dropped while its runtime goes down
//! is reaped all the same.

use std::any::Any;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use apptainer_sys::process::Child;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::end;

struct Orphan {
    child: Child,
    was_killed: bool,
    /// When to kill what is left, while that has not been done.
    deadline: Option<Instant>,
    /// Dropped when the process has ended.
    kept: Vec<Box<dyn Any + Send>>,
}

struct Reaper {
    orphans: Sender<Orphan>,
    wake: PipeWriter,
}

/// Takes over a process. One that was killed is killed again, helpers and all,
/// if it does not end by itself.
pub(super) fn adopt(child: Child, was_killed: bool, kept: Vec<Box<dyn Any + Send>>) {
    static REAPER: OnceLock<Mutex<Option<Reaper>>> = OnceLock::new();
    let deadline = was_killed.then(|| Instant::now() + end::CLEAN_UP);
    let orphan = Orphan {
        child,
        was_killed,
        deadline,
        kept,
    };
    let mut reaper = REAPER
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let reaper = match &mut *reaper {
        Some(reaper) => reaper,
        none => match start() {
            Ok(started) => none.insert(started),
            Err(error) => {
                tracing::warn!(%error, "cannot start the thread that reaps dropped processes");
                return;
            }
        },
    };
    if reaper.orphans.send(orphan).is_ok() {
        // A full pipe is as good a wake-up as one more byte in it.
        let _ = reaper.wake.write(&[0]);
    }
}

fn start() -> std::io::Result<Reaper> {
    let (woken, wake) = std::io::pipe()?;
    let (orphans, received) = channel();
    thread::Builder::new()
        .name("apptainer-reaper".into())
        .spawn(move || run(&received, woken))?;
    Ok(Reaper { orphans, wake })
}

fn run(received: &Receiver<Orphan>, mut woken: PipeReader) {
    let mut orphans: Vec<Orphan> = Vec::new();
    loop {
        let is_woken = wait(&orphans, &woken);
        if is_woken {
            let mut bytes = [0; 4096];
            let _ = woken.read(&mut bytes);
        }
        orphans.extend(received.try_iter());
        for orphan in orphans.extract_if(.., settle) {
            let_go(orphan.kept);
        }
        // What has ended and cannot be reaped is held by a debugger, and its pidfd
        // stays ready until that lets go.
        let has_ended = |orphan: &Orphan| orphan.child.pidfd().has_ended().unwrap_or(false);
        if orphans.iter().any(has_ended) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits for something to do; says whether it was woken.
fn wait(orphans: &[Orphan], woken: &PipeReader) -> bool {
    let next = orphans.iter().filter_map(|orphan| orphan.deadline).min();
    let timeout = next.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
    });
    let mut polled = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
    let pidfds = orphans.iter().map(|orphan| orphan.child.pidfd());
    polled.extend(pidfds.map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
    let _ = poll(&mut polled, timeout);
    polled[0].any().unwrap_or(false)
}

/// Drops what a process was kept for: that may take away whole trees of files, and nobody else
/// waits for it.
fn let_go(kept: Vec<Box<dyn Any + Send>>) {
    if kept.is_empty() {
        return;
    }
    let dropping = thread::Builder::new().name("apptainer-dropper".into());
    // Where no thread can be had it is dropped here.
    let _ = dropping.spawn(move || drop(kept));
}

/// Does what is due for a process; says whether it is done with.
fn settle(orphan: &mut Orphan) -> bool {
    match end::reap(&mut orphan.child, orphan.was_killed) {
        Ok(Some(_)) => true,
        Ok(None) => {
            if orphan
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                orphan.deadline = None;
                let _ = end::kill_everything(orphan.child.pid(), orphan.child.pidfd());
            }
            false
        }
        Err(error) => {
            tracing::warn!(%error, pid = orphan.child.pid(), "cannot wait for a dropped process");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use apptainer_sys::process::Spawn;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    struct OnDrop<F: FnMut()>(F);

    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    fn adopt_true(kept: impl FnMut() + Send + 'static) {
        let child = Spawn::new("/bin/true").spawn().unwrap();
        adopt(child, false, vec![Box::new(OnDrop(kept))]);
    }

    #[test]
    fn nobody_waits_for_what_another_process_was_kept_for() {
        let (go_on, waits) = channel::<()>();
        let (begun, has_begun) = channel();
        adopt_true(move || {
            begun.send(()).unwrap();
            let _ = waits.recv_timeout(LONG);
        });
        has_begun.recv_timeout(LONG).unwrap();
        let (dropped, is_dropped) = channel();
        adopt_true(move || dropped.send(()).unwrap());
        is_dropped.recv_timeout(LONG / 2).unwrap();
        drop(go_on);
    }
}
