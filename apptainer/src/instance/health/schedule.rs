//! When to ask, and what the answers amount to.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::Health;
use crate::instance::seconds::later;

/// What is known of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::instance) enum Verdict {
    /// It has not been well yet, and may still become so.
    Starting,
    Healthy,
    /// It failed as often on end as it may.
    Unhealthy,
}

/// How long it is from the first probe to the second; the next pauses are twice as long each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    start_interval: Duration,
    retries: u32,
    verdict: Verdict,
    has_been_well: bool,
    /// The failures on end that count.
    streak: u32,
    /// How long to wait next, until it is ready.
    pause: Duration,
    /// The end of the start period, or when a failure was last counted, until it is ready.
    counted: Instant,
}

impl Schedule {
    pub(super) fn new(health: &Health, now: Instant) -> Self {
        Self {
            interval: health.interval,
            start_interval: health.start_interval.min(health.interval),
            retries: health.retries,
            verdict: Verdict::Starting,
            has_been_well: false,
            streak: 0,
            pause: FIRST_PAUSE,
            counted: later(now, health.start_period),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn streak(&self) -> u32 {
        self.streak
    }

    /// Takes in an answer.
    pub(super) fn record(&mut self, is_well: bool, now: Instant) {
        if is_well {
            self.has_been_well = true;
            self.streak = 0;
            self.verdict = Verdict::Healthy;
        } else if self.counts(now) {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= self.retries {
                self.verdict = Verdict::Unhealthy;
            }
        }
    }

    /// Whether a failure counts now. While it is asked often, to see soon that it is ready, it
    /// is not to run out of retries as fast.
    fn counts(&mut self, now: Instant) -> bool {
        if self.has_been_well || self.verdict == Verdict::Unhealthy {
            return true;
        }
        let is_due = now >= later(self.counted, self.interval);
        if is_due {
            self.counted = now;
        }
        is_due
    }

    /// How long to wait for the next probe.
    pub(super) fn pause(&mut self) -> Duration {
        if self.verdict != Verdict::Starting {
            return self.interval;
        }
        let pause = self.pause.min(self.start_interval);
        self.pause = pause.saturating_mul(2);
        pause
    }

    /// For so long nothing could be asked: that time is not the instance's.
    pub(super) fn was_halted(&mut self, time: Duration) {
        self.counted = later(self.counted, time);
    }
}
