//! When to stop waiting.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// A time to stop waiting at, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// After so much time; none where the clock does not go that far.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// The same, or none.
    pub(crate) fn after_if(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// What is left, for one call of poll(2): rounded up, so that the last wait is
    /// not a busy one.
    pub(crate) fn poll_timeout(self) -> PollTimeout {
        self.0.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = left.as_micros().div_ceil(1000);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_further_than_the_clock_goes_is_never() {
        let never = Deadline::after(Duration::MAX);
        assert!(!never.has_passed());
        assert_eq!(never.poll_timeout(), PollTimeout::NONE);
        let now = Deadline::after(Duration::ZERO);
        assert!(now.has_passed());
        assert_eq!(now.poll_timeout(), PollTimeout::ZERO);
    }
}
