//! An instance while somebody uses it.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::PoolError;
use super::shared::{Member, Shared};
use crate::instance::Service;

/// An instance that was checked out of a [`Pool`](super::Pool), to be used as a [`Service`].
///
/// Dropped, it goes back, in the background. A clone of its `Service` that is kept beyond that is
/// a handle of an instance that may be somebody else's by then.
#[derive(Debug)]
#[must_use = "it goes back when it is dropped"]
pub struct Checkout {
    /// `None` once it is no more here.
    member: Option<Member>,
    /// Its own, so that it is there whatever has become of the other.
    service: Service,
    shared: Arc<Shared>,
    /// Whether it has reached anybody.
    is_used: bool,
}

impl Checkout {
    pub(super) fn new(member: Member, shared: &Arc<Shared>) -> Self {
        Self {
            service: member.service.clone(),
            member: Some(member),
            shared: Arc::clone(shared),
            is_used: false,
        }
    }

    /// It has reached who wanted it.
    pub(super) fn used(mut self) -> Self {
        self.is_used = true;
        if let Some(member) = &mut self.member {
            member.uses = member.uses.saturating_add(1);
        }
        self.shared.lock().checked_out_total += 1;
        self
    }

    pub(super) fn into_member(mut self) -> Option<Member> {
        self.member.take()
    }

    /// Gives it back, and waits until it has been [reset](super::Reset): stopped, where it is
    /// replaced, or ready for the next.
    ///
    /// Dropping the future does not call it off.
    pub async fn give_back(mut self) -> Result<(), PoolError> {
        let Some(member) = self.member.take() else {
            return Ok(());
        };
        let (done, is_done) = oneshot::channel();
        match self.shared.take_back(member, true, Some(done)) {
            Ok(()) => is_done.await.unwrap_or(Err(PoolError::Closed)),
            // The pool was drained, which stops it.
            Err(member) => {
                let stopped = member.service.stop().await;
                stopped.map_err(|error| PoolError::Stop(Arc::new(error)))
            }
        }
    }

    /// Takes it out of the pool, which has one less from now on: it is its supervisor's as any
    /// other is.
    pub fn keep(mut self) -> Service {
        match self.member.take() {
            Some(member) => self.shared.release(member),
            None => self.service.clone(),
        }
    }
}

impl Deref for Checkout {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            // One that is not the pool's any more is stopped by whoever made it so.
            let _ = self.shared.take_back(member, self.is_used, None);
        }
    }
}
