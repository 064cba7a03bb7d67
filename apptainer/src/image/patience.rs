//! Asking again what was busy, or broke off.

use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::Listener;
use super::registry::RegistryError;
use super::{ImageError, Subject};

/// How often, and for how long, a server is asked.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
    pub(super) retries: u32,
    pub(super) listener: &'a Listener,
}

/// How long to wait before each attempt after the first, without end: twice as long each time,
/// and never as long as others do who were refused at the same time.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    iter::successors(Some(FIRST), |pause| Some((*pause * 2).min(LONGEST))).map(|pause| {
        // Between half of it and half as much again.
        let [random, ..] = RandomState::new().hash_one(()).to_le_bytes();
        pause / 2 + pause * u32::from(random) / 256
    })
}

impl Patience<'_> {
    /// Does it until it succeeds, fails for good, or is not to begin again: it is told when it
    /// will have taken too long.
    pub(super) async fn attempt<T, F>(
        &self,
        mut once: impl FnMut(Instant) -> F,
    ) -> Result<T, ImageError>
    where
        F: Future<Output = Result<T, ImageError>>,
    {
        let deadline = self.deadline;
        let mut pauses = pauses().take(self.retries as usize);
        loop {
            let error = match once(deadline).await {
                Err(error) if error.may_pass() => error,
                done => return done,
            };
            let Some(pause) = pauses
                .next()
                .filter(|pause| Instant::now() + *pause < deadline)
            else {
                return Err(error);
            };
            tracing::warn!(%error, ?pause, "it is asked for again");
            self.listener.pause(pause).await;
        }
    }

    /// The same of what asks a registry, each time until it has taken too long.
    pub(super) async fn ask<T, F>(&self, mut once: impl FnMut() -> F) -> Result<T, ImageError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        self.attempt(|deadline| {
            let answer = once();
            async move {
                match tokio::time::timeout_at(deadline, answer).await {
                    Ok(answer) => answer.map_err(|error| ImageError::registry(self.subject, error)),
                    Err(_) => Err(self.timed_out()),
                }
            }
        })
        .await
    }

    pub(super) fn timed_out(&self) -> ImageError {
        ImageError::TimedOut {
            reference: self.subject.to_string(),
            limit: self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for (pause, most) in pauses().zip([750, 1500, 3000, 6000, 12_000, 24_000, 45_000, 45_000]) {
            let most = Duration::from_millis(most);
            assert!(pause >= most / 3 && pause <= most, "{pause:?} of {most:?}");
        }
    }
}
