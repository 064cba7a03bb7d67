//! What the kernel kills in a group for want of memory.

use apptainer_sys::cgroup::{Cgroup, Event, Events};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::LimitError;

/// Tells of what is killed in a group.
#[derive(Debug)]
pub(super) struct Kills(Option<AsyncFd<Events>>);

impl Kills {
    /// From now on. Must be called in a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; the events of \
            a group have one descriptor from first to last"
    )]
    pub(super) fn of(group: &Cgroup) -> Result<Self, LimitError> {
        let events = AsyncFd::with_interest(group.events()?, Interest::READABLE);
        let events = events.map_err(LimitError::processes("watch"))?;
        Ok(Self(Some(events)))
    }

    /// How many were killed next. Waits for ever once the group is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> u64 {
        while let Some(events) = &mut self.0 {
            let failed = match events.readable_mut().await {
                Err(error) => error.to_string(),
                Ok(mut ready) => match ready.get_inner_mut().try_next() {
                    Ok(Some(Event::OutOfMemory { kills })) => return kills,
                    Ok(Some(_)) => continue,
                    Ok(None) => {
                        ready.clear_ready();
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            tracing::debug!(error = failed, "no more is heard of a cgroup");
            self.0 = None;
        }
        std::future::pending().await
    }
}
