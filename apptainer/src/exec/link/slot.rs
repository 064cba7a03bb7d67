//! Where a place's link is kept, and made when it is first needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::launch::launch;
use super::transport::Transport;
use super::{Link, LinkError};
use crate::exec::{Defaults, ExecError, Place};

/// The link of one place, for all commands there.
#[derive(Debug)]
pub(crate) struct Slot {
    place: Arc<Place>,
    defaults: Defaults,
    reached: Mutex<Option<Reached>>,
    /// Held by whoever makes the link, so that it is made once.
    making: tokio::sync::Mutex<()>,
    /// Whether none is made any more: another place may have come to have its name.
    is_closed: AtomicBool,
}

/// How commands get to a place.
#[derive(Debug, Clone)]
pub(crate) enum Reached {
    /// By an agent there.
    Agent(Transport),
    /// By an `apptainer exec` each.
    Cli(Arc<Place>),
}

impl Slot {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place: Arc::new(place),
            defaults: Defaults::default(),
            reached: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// With this link in it, and no other ever, for commands that are like this.
    pub(crate) fn linked(place: Place, link: Link, defaults: Defaults) -> Self {
        let slot = Self {
            defaults,
            ..Self::new(place)
        };
        *slot.reached() = Some(Reached::Agent(link.transport));
        slot.is_closed.store(true, Ordering::Release);
        slot
    }

    fn reached(&self) -> MutexGuard<'_, Option<Reached>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it leads to.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// What commands there are like.
    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The way to the place; made, where there is none or the last one is lost.
    ///
    /// Cancel-safe: whoever comes next makes it.
    pub(crate) async fn reach(&self) -> Result<Reached, ExecError> {
        if let Some(reached) = self.known() {
            return Ok(reached);
        }
        self.check()?;
        let _alone = self.making.lock().await;
        // Somebody else may have made it meanwhile.
        if let Some(reached) = self.known() {
            return Ok(reached);
        }
        let cli = || Reached::Cli(Arc::clone(&self.place));
        let reached = match launch(&self.place, None).await {
            Ok(connection) => Reached::Agent(Transport::Local(connection)),
            Err(ExecError::Link(error @ LinkError::NoAgent { .. })) => {
                tracing::warn!(%error, "each command takes an `apptainer exec`");
                cli()
            }
            Err(ExecError::Link(error @ LinkError::Stillborn { .. })) => {
                tracing::warn!(%error, "this command takes an `apptainer exec`");
                // The next one tries again.
                return Ok(cli());
            }
            Err(error) => return Err(error),
        };
        *self.reached() = Some(reached.clone());
        Ok(reached)
    }

    /// Whether there is a way to it, or one could be made.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        if self.is_closed.load(Ordering::Acquire) && self.known().is_none() {
            return Err(LinkError::Lost);
        }
        Ok(())
    }

    /// The way to it, if that is known.
    pub(crate) fn known(&self) -> Option<Reached> {
        match &*self.reached() {
            Some(Reached::Agent(transport)) if transport.is_lost() => None,
            reached => reached.clone(),
        }
    }

    /// Waits until the agent in the place answers, where commands get there by one.
    pub(crate) async fn ping(&self) -> Result<(), ExecError> {
        match self.reach().await? {
            Reached::Agent(transport) => Ok(transport.ping().await?),
            Reached::Cli(_) => Ok(()),
        }
    }

    /// Forgets its link, and makes no other.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.forget();
    }

    /// Forgets a link, which ends when nobody else uses it.
    pub(crate) fn forget(&self) {
        *self.reached() = None;
    }
}
