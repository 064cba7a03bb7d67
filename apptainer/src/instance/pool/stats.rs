//! How a pool does.

/// How many instances a pool has, and has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Those that wait ready.
    pub idle: usize,
    /// Those that are checked out.
    pub in_use: usize,
    /// Those that are being started, and are not ready yet.
    pub starting: usize,
    /// Those that were given back, and are being made fit for the next.
    pub resetting: usize,
    /// Those that are being stopped.
    pub stopping: usize,
    /// How many wait for one.
    pub waiting: usize,
    /// How many have been started, and were ready.
    pub started_total: u64,
    /// How many could not be started, or were not ready in time.
    pub failed_total: u64,
    /// How many times one was checked out.
    pub checked_out_total: u64,
    /// How many were not well any more while they waited, and were replaced.
    pub discarded_total: u64,
}
