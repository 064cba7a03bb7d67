//! Opening pools.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::keeper::Keeper;
use super::shared::{Settings, Shared};
use super::{Pool, PoolError, PoolSize, Reset};
use crate::instance::{Spec, Supervisor};

/// How long a check-out waits, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of a [`Pool`].
#[derive(Debug, Clone)]
#[must_use = "a pool is opened by `open`"]
pub struct PoolBuilder {
    supervisor: Supervisor,
    spec: Spec,
    settings: Settings,
}

impl Supervisor {
    /// A pool of instances of this description.
    pub fn pool(&self, spec: Spec) -> PoolBuilder {
        Pool::builder(self, spec)
    }
}

impl Pool {
    /// A pool of instances of this description, which this supervisor starts.
    pub fn builder(supervisor: &Supervisor, spec: Spec) -> PoolBuilder {
        PoolBuilder {
            supervisor: supervisor.clone(),
            spec,
            settings: Settings {
                size: PoolSize::default(),
                reset: Reset::default(),
                max_uses: None,
                timeout: TIMEOUT,
            },
        }
    }
}

impl PoolBuilder {
    /// How many instances it has: one that is kept ready, and 8 at most otherwise.
    pub fn size(mut self, size: PoolSize) -> Self {
        self.settings.size = size;
        self
    }

    /// What becomes of an instance that is given back: it is replaced otherwise.
    pub fn reset(mut self, reset: Reset) -> Self {
        self.settings.reset = reset;
        self
    }

    /// How often an instance is [used again](Reset::Reuse) before it is replaced: as often as it
    /// is well otherwise.
    pub fn max_uses(mut self, most: u32) -> Self {
        self.settings.max_uses = Some(most);
        self
    }

    /// How long a check-out waits until one can be had: 30 seconds otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = limit;
        self
    }

    /// Opens it, and returns when as many are ready as are to be kept so.
    ///
    /// Its image is found once: all its instances are of that one, whatever its name comes to
    /// stand for. The first that cannot be started is an error, and when that is returned nothing
    /// is left. Dropping the future stops what has been started, in the background.
    pub async fn open(self) -> Result<Pool, PoolError> {
        let Self {
            supervisor,
            spec,
            settings,
        } = self;
        settings.size.check()?;
        if settings.size.max > 1 {
            spec.validate_for_many()?;
        }
        if settings.reset == Reset::Reuse {
            spec.validate_for_reuse()?;
        }
        let plan = supervisor.plan(&spec).await?;
        let shared = Arc::new(Shared::new(settings));
        let (opening, opened) = oneshot::channel();
        let keeper = Keeper::new(Arc::clone(&shared), supervisor, plan, opening);
        let pool = Pool::of(shared);
        tokio::spawn(keeper.run());
        opened.await.unwrap_or(Err(PoolError::Closed))?;
        Ok(pool)
    }
}
