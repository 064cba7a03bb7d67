//! The threads that renew all leases of this process: one for each file system that has some, and
//! for as long as it has.
//!
//! A file system that does not answer keeps its own thread waiting, and nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{io, thread};

/// Something that is renewed again and again.
pub(super) trait Renewed: Send + Sync {
    /// When that is to be done next; `None` when there is no use in it any more.
    fn next(&self) -> Option<Instant>;

    fn renew(&self);
}

/// By the numbers of devices: each that is there has a thread.
type Renewals = BTreeMap<u64, Vec<Arc<dyn Renewed>>>;

static RENEWALS: Mutex<Renewals> = Mutex::new(Renewals::new());
/// Tells the threads that there are others now.
static CHANGED: Condvar = Condvar::new();

/// From now on this one is renewed, which lies on that device.
pub(super) fn begin(device: u64, renewed: Arc<dyn Renewed>) -> io::Result<()> {
    let mut renewals = renewals();
    if !renewals.contains_key(&device) {
        let thread = thread::Builder::new().name("apptainer-leases".to_owned());
        thread.spawn(move || run(device))?;
    }
    renewals.entry(device).or_default().push(renewed);
    CHANGED.notify_all();
    Ok(())
}

/// From now on it is not, but for once if that is being done.
pub(super) fn end<T: Renewed>(renewed: &Arc<T>) {
    let is_other =
        |other: &Arc<dyn Renewed>| !std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(renewed));
    for of_device in renewals().values_mut() {
        of_device.retain(is_other);
    }
    CHANGED.notify_all();
}

fn run(device: u64) {
    let mut renewals = renewals();
    loop {
        let Some(all) = renewals.get(&device).filter(|all| !all.is_empty()) else {
            renewals.remove(&device);
            return;
        };
        let now = Instant::now();
        let due = due(all, now);
        if !due.is_empty() {
            // The file system may keep us waiting: nobody else has to.
            drop(renewals);
            for renewed in due {
                renewed.renew();
            }
            renewals = self::renewals();
        } else if let Some(next) = all.iter().filter_map(|renewed| renewed.next()).min() {
            let pause = next.saturating_duration_since(now);
            let waited = CHANGED.wait_timeout(renewals, pause);
            renewals = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            let waited = CHANGED.wait(renewals);
            renewals = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn due(all: &[Arc<dyn Renewed>], now: Instant) -> Vec<Arc<dyn Renewed>> {
    all.iter()
        .filter(|renewed| renewed.next().is_some_and(|next| next <= now))
        .cloned()
        .collect()
}

fn renewals() -> MutexGuard<'static, Renewals> {
    RENEWALS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// On a file system that answers when it is told to.
    struct Slow {
        due: Instant,
        asked: Sender<()>,
        answer: Mutex<Receiver<()>>,
    }

    impl Renewed for Slow {
        fn next(&self) -> Option<Instant> {
            Some(self.due)
        }

        fn renew(&self) {
            let _ = self.asked.send(());
            let _ = self.answer.lock().unwrap().recv_timeout(LONG);
        }
    }

    fn slow() -> (Arc<Slow>, Receiver<()>, Sender<()>) {
        let (asked, is_asked) = channel();
        let (answers, answer) = channel();
        let answer = Mutex::new(answer);
        let due = Instant::now();
        (Arc::new(Slow { due, asked, answer }), is_asked, answers)
    }

    #[test]
    fn a_file_system_that_does_not_answer_keeps_no_other_waiting() {
        let (hanging, hangs, go_on) = slow();
        let (other, is_renewed, answers) = slow();
        begin(u64::MAX, Arc::clone(&hanging) as Arc<dyn Renewed>).unwrap();
        hangs.recv_timeout(LONG).unwrap();
        begin(u64::MAX - 1, Arc::clone(&other) as Arc<dyn Renewed>).unwrap();
        for _ in 0..3 {
            is_renewed.recv_timeout(LONG / 2).unwrap();
            answers.send(()).unwrap();
        }
        end(&hanging);
        end(&other);
        drop((go_on, answers));
        // What has nothing to do any more ends.
        let began = Instant::now();
        while [u64::MAX, u64::MAX - 1]
            .iter()
            .any(|device| renewals().contains_key(device))
        {
            assert!(began.elapsed() < LONG);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
