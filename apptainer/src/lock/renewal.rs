//! The thread that renews all leases of this process, which is there while there are any.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{io, thread};

use super::term::Term;

static RENEWALS: Mutex<Renewals> = Mutex::new(Renewals {
    terms: Vec::new(),
    has_thread: false,
});
/// Tells the thread that there are others now.
static CHANGED: Condvar = Condvar::new();

struct Renewals {
    terms: Vec<Arc<Term>>,
    has_thread: bool,
}

/// From now on this one is renewed.
pub(super) fn begin(term: &Arc<Term>) -> io::Result<()> {
    let mut renewals = renewals();
    if !renewals.has_thread {
        let thread = thread::Builder::new().name("apptainer-leases".to_owned());
        thread.spawn(run)?;
        renewals.has_thread = true;
    }
    renewals.terms.push(Arc::clone(term));
    CHANGED.notify_all();
    Ok(())
}

/// From now on it is not, but for once if that is being done.
pub(super) fn end(term: &Arc<Term>) {
    renewals().terms.retain(|other| !Arc::ptr_eq(other, term));
    CHANGED.notify_all();
}

fn run() {
    let mut renewals = renewals();
    while !renewals.terms.is_empty() {
        let now = Instant::now();
        let due = renewals.due(now);
        if !due.is_empty() {
            // A file system may keep us waiting: nobody else has to.
            drop(renewals);
            for term in due {
                term.renew();
            }
            renewals = self::renewals();
        } else if let Some(next) = renewals.next() {
            let pause = next.saturating_duration_since(now);
            let waited = CHANGED.wait_timeout(renewals, pause);
            renewals = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            let waited = CHANGED.wait(renewals);
            renewals = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
    renewals.has_thread = false;
}

impl Renewals {
    fn due(&self, now: Instant) -> Vec<Arc<Term>> {
        let terms = self.terms.iter();
        terms
            .filter(|term| term.next().is_some_and(|next| next <= now))
            .cloned()
            .collect()
    }

    fn next(&self) -> Option<Instant> {
        self.terms.iter().filter_map(|term| term.next()).min()
    }
}

fn renewals() -> MutexGuard<'static, Renewals> {
    RENEWALS.lock().unwrap_or_else(PoisonError::into_inner)
}
