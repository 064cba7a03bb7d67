//! Instances that are kept ready for whoever needs one.

mod builder;
mod checkout;
mod error;
mod keeper;
mod reset;
mod shared;
mod size;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use self::shared::{Progress, Shared, Taken};

pub use builder::PoolBuilder;
pub use checkout::Checkout;
pub use error::PoolError;
pub use reset::Reset;
pub use size::PoolSize;
pub use stats::PoolStats;

/// Instances of one [`Spec`](super::Spec) that are ready before anybody needs them: checking one
/// out takes microseconds, where starting one takes a tenth of a second or more.
///
/// They are [ready](super::State::Ready), and commands run in them at once. Those that are not
/// well any more are never handed out, and replaced in the background as are those that were
/// [used](Reset). Where starts fail they are tried again, ever more slowly.
///
/// ```no_run
/// # async fn example(client: apptainer::Apptainer) -> Result<(), Box<dyn std::error::Error>> {
/// use apptainer::instance::{PoolSize, Spec};
///
/// let supervisor = client.supervisor("sandboxes").open().await?;
/// let spec = Spec::new("docker://python:3.13-slim").temporary_overlay();
/// let pool = supervisor.pool(spec).size(PoolSize::new(4, 16)).open().await?;
///
/// let sandbox = pool.check_out().await?;
/// let output = sandbox.command("python3")?.args(["-c", "print(6 * 7)"]).output().await?;
/// assert_eq!(&output.stdout[..], b"42\n");
/// // It goes back, and the next to come gets another.
/// drop(sandbox);
///
/// pool.shut_down().await?;
/// # Ok(())
/// # }
/// ```
///
/// A handle: cheap to clone. The last one that is dropped closes it, as
/// [`shut_down`](Self::shut_down) does, and the rest is done in the background, for as long as the
/// runtime is there. It keeps its supervisor until it is closed and nothing of it is left.
///
/// # After a crash
///
/// Its instances are its supervisor's as others are, and the next supervisor of the same name
/// finds them. They are not taken into a pool again: have them ended, by
/// [`Recovery::Reap`](super::Recovery::Reap), or each is an instance like any other.
#[derive(Debug, Clone)]
pub struct Pool {
    handle: Arc<Handle>,
}

/// What all handles of a pool have in common. Dropped, it closes the pool.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(false);
    }
}

impl Pool {
    fn of(shared: Arc<Shared>) -> Self {
        Self {
            handle: Arc::new(Handle { shared }),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// An instance for the caller alone, until it is dropped or [given back](Checkout::give_back).
    ///
    /// Where none is ready, another is started, if there may be one. Those who wait get theirs in
    /// the order in which they came.
    ///
    /// # Errors
    ///
    /// None could be had in [time](PoolBuilder::timeout), or started; the pool is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it was about to get is the next's.
    pub async fn check_out(&self) -> Result<Checkout, PoolError> {
        let receiver = match self.shared().take()? {
            Taken::Now(checkout) => return Ok(checkout.used()),
            Taken::Later(receiver) => receiver,
        };
        let limit = self.shared().settings.timeout;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(result)) => result.map(Checkout::used),
            Ok(Err(_)) => Err(PoolError::Closed),
            Err(_) => Err(PoolError::TimedOut {
                limit,
                last_failure: self.shared().lock().last_failure.clone(),
            }),
        }
    }

    /// How it does.
    pub fn stats(&self) -> PoolStats {
        self.shared().lock().stats()
    }

    /// Hands out no more, and stops the instances that nobody uses; returns when nothing is left
    /// of them. Those that are in use are stopped when they are given back:
    /// [`drain`](Self::drain) waits for that.
    ///
    /// The first that could not be stopped is an error. Dropping the future does not call it off.
    pub async fn shut_down(&self) -> Result<(), PoolError> {
        self.shared().close(false);
        self.reached(Progress::InUse).await
    }

    /// The same, and waits for those in use to be given back; after `limit` they are stopped as
    /// they are. When this returns nothing is left of any.
    ///
    /// Dropping the future leaves it shut down.
    pub async fn drain(&self, limit: Duration) -> Result<(), PoolError> {
        self.shared().close(false);
        let over = self.reached(Progress::Over);
        if let Ok(over) = tokio::time::timeout(limit, over).await {
            return over;
        }
        self.shared().close(true);
        self.reached(Progress::Over).await
    }

    /// Waits until it has been shut down as far as this.
    async fn reached(&self, wanted: Progress) -> Result<(), PoolError> {
        let mut progress = self.shared().progress.subscribe();
        // The sender is here.
        let _ = progress.wait_for(|progress| *progress >= wanted).await;
        let error = self.shared().lock().stop_error.clone();
        error.map_or(Ok(()), Err)
    }
}

const _: () = {
    /// Handles go from task to task.
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Pool>();
    is_shared::<Checkout>();
};
