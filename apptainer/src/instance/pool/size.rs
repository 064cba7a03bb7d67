//! How many instances there are to be.

use std::time::Duration;

use tokio::time::Instant;

use super::PoolError;

/// How many instances a [`Pool`](super::Pool) has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it is a description, for a pool's builder"]
pub struct PoolSize {
    /// How many wait ready.
    pub(super) min: usize,
    /// How many there are in all.
    pub(super) max: usize,
    pub(super) concurrency: usize,
    pub(super) idle_limit: Option<Duration>,
}

impl PoolSize {
    /// `min` instances are kept ready for whoever comes, and there are never more than `max`:
    /// those that are in use, being started and being stopped are among them.
    pub fn new(min: usize, max: usize) -> Self {
        Self {
            min,
            max,
            concurrency: 4,
            idle_limit: None,
        }
    }

    /// How many are started at the same time: 4 otherwise. All that its
    /// [supervisor](super::super::SupervisorBuilder::concurrency) starts counts there too.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most.max(1);
        self
    }

    /// How long more than `min` may wait ready, before those that have done so longest are
    /// stopped: for ever otherwise.
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = Some(limit);
        self
    }

    pub(super) fn check(&self) -> Result<(), PoolError> {
        if self.max == 0 {
            return Err(PoolError::Size {
                reason: "it may have no instance; let `max` be 1 at least",
            });
        }
        if self.min > self.max {
            return Err(PoolError::Size {
                reason: "more are to be kept ready than there may be; raise `max`, or lower `min`",
            });
        }
        Ok(())
    }

    /// How many more are to be started now.
    pub(super) fn missing(&self, counts: &Counts) -> usize {
        let wanted = self.min.saturating_add(counts.waiting);
        let coming = counts.idle + counts.starting + counts.resetting;
        let room = self.max.saturating_sub(counts.total());
        let turns = self.concurrency.saturating_sub(counts.starting);
        wanted.saturating_sub(coming).min(room).min(turns)
    }

    /// How many of those that are idle may be stopped when they have been so for too long.
    pub(super) fn surplus(&self, idle: usize) -> usize {
        match self.idle_limit {
            Some(_) => idle.saturating_sub(self.min),
            None => 0,
        }
    }
}

impl Default for PoolSize {
    /// One is kept ready, and there are at most 8.
    fn default() -> Self {
        Self::new(1, 8)
    }
}

/// How many there are, and of what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) idle: usize,
    pub(super) in_use: usize,
    pub(super) starting: usize,
    /// Being made fit for the next.
    pub(super) resetting: usize,
    /// Being stopped, or about to be.
    pub(super) stopping: usize,
    /// Those who wait for one.
    pub(super) waiting: usize,
}

impl Counts {
    /// All that there are.
    fn total(&self) -> usize {
        self.in_use + self.all_but_used()
    }

    pub(super) fn all_but_used(&self) -> usize {
        self.idle + self.starting + self.resetting + self.stopping
    }
}

/// How long nothing is started after starts have failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    streak: u32,
    last: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);
    /// After this a failure is no more of the same trouble.
    const MEMORY: Duration = Duration::from_secs(30);

    /// When to try again after a failure now.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        if self.last.is_some_and(|last| now - last > Self::MEMORY) {
            self.streak = 0;
        }
        self.last = Some(now);
        let factor = 2_u32.saturating_pow(self.streak);
        self.streak = self.streak.saturating_add(1);
        now + Self::FIRST.saturating_mul(factor).min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_kept_ready_is_started_a_few_at_a_time() {
        let size = PoolSize::new(6, 8).concurrency(4);
        let counts = Counts::default();
        assert_eq!(size.missing(&counts), 4);
        let starting = Counts {
            starting: 3,
            ..counts
        };
        assert_eq!(size.missing(&starting), 1);
        let nearly = Counts { idle: 5, ..counts };
        assert_eq!(size.missing(&nearly), 1);
        let ready = Counts { idle: 6, ..counts };
        assert_eq!(size.missing(&ready), 0);
    }

    #[test]
    fn one_is_started_for_each_who_waits_and_for_the_next() {
        let size = PoolSize::new(1, 8);
        let counts = Counts {
            in_use: 3,
            waiting: 2,
            ..Counts::default()
        };
        assert_eq!(size.missing(&counts), 3);
        let coming = Counts {
            resetting: 2,
            ..counts
        };
        assert_eq!(size.missing(&coming), 1);
    }

    #[test]
    fn what_is_being_stopped_takes_up_room() {
        let size = PoolSize::new(2, 4);
        let counts = Counts {
            in_use: 2,
            stopping: 1,
            waiting: 9,
            ..Counts::default()
        };
        assert_eq!(size.missing(&counts), 1);
    }

    #[test]
    fn only_what_has_a_limit_is_surplus() {
        assert_eq!(PoolSize::new(1, 8).surplus(5), 0);
        let size = PoolSize::new(1, 8).idle_limit(Duration::from_secs(1));
        assert_eq!(size.surplus(5), 4);
        assert_eq!(size.surplus(0), 0);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert!(PoolSize::new(0, 1).check().is_ok());
        assert!(PoolSize::new(0, 0).check().is_err());
        assert!(PoolSize::new(3, 2).check().is_err());
    }

    #[test]
    fn failures_are_repeated_ever_more_slowly() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for expected in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let next = backoff.next(now);
            assert_eq!((next - now).as_millis(), expected);
            now = next;
        }
        now += Duration::from_secs(60);
        assert_eq!((backoff.next(now) - now).as_millis(), 100);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_may_be_and_nobody_waits_without_need(
            (min, max) in (0_usize..9, 1_usize..9),
            concurrency in 1_usize..5,
            [idle, in_use, starting, resetting, stopping] in any::<[u8; 5]>()
                .prop_map(|counts| counts.map(|count| usize::from(count % 4))),
            waiting in 0_usize..5,
        ) {
            let counts = Counts { idle, in_use, starting, resetting, stopping, waiting };
            let size = PoolSize::new(min, max).concurrency(concurrency);
            let started = size.missing(&counts);
            prop_assert!(started == 0 || counts.total() + started <= max);
            prop_assert!(started == 0 || starting + started <= concurrency);
            let is_content = idle + starting + resetting + started >= min + waiting;
            let is_full = counts.total() + started >= max || starting + started >= concurrency;
            prop_assert!(is_content || is_full);
        }
    }
}
