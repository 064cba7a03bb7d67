//! Whoever waits for something without being a task of its own.

use std::task::{Context, Waker};

/// One that is woken when there is news: after whatever lock guards the news has been given
/// back, for who is woken may want it, or be dropped.
#[derive(Debug, Default)]
pub(in crate::exec::link) struct Watcher {
    waker: Option<Waker>,
    has_news: bool,
}

impl Watcher {
    /// Has this task woken when there is news. It takes the place of the one before.
    pub(in crate::exec::link) fn watch(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
    }

    pub(in crate::exec::link) fn note(&mut self) {
        self.has_news = true;
    }

    /// Whom to wake now.
    pub(in crate::exec::link) fn take(&mut self) -> Option<Waker> {
        if std::mem::take(&mut self.has_news) {
            self.waker.take()
        } else {
            None
        }
    }
}
