//! What a process has used.

use std::time::Duration;

/// What a process has used until it ended, with all of its children that it waited
/// for.
///
/// Source: getrusage(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ResourceUsage {
    /// CPU time of its own.
    pub user: Duration,
    /// CPU time of the kernel's on its behalf.
    pub system: Duration,
    /// The most memory that it, or one of its children, had resident, in bytes.
    pub max_resident: u64,
    /// Page faults that took no reading.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Blocks of 512 bytes read from file systems.
    pub blocks_read: u64,
    /// Blocks of 512 bytes written to file systems.
    pub blocks_written: u64,
    /// How often it gave the CPU away, to wait.
    pub voluntary_switches: u64,
    /// How often the CPU was taken from it.
    pub involuntary_switches: u64,
}

impl From<&libc::rusage> for ResourceUsage {
    fn from(usage: &libc::rusage) -> Self {
        // The kernel's counters are never below zero.
        let count = |counter: libc::c_long| u64::try_from(counter).unwrap_or(0);
        let duration = |time: libc::timeval| {
            let micros = u64::try_from(time.tv_usec).unwrap_or(0);
            Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
                + Duration::from_micros(micros)
        };
        Self {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            max_resident: count(usage.ru_maxrss) * 1024,
            minor_faults: count(usage.ru_minflt),
            major_faults: count(usage.ru_majflt),
            blocks_read: count(usage.ru_inblock),
            blocks_written: count(usage.ru_oublock),
            voluntary_switches: count(usage.ru_nvcsw),
            involuntary_switches: count(usage.ru_nivcsw),
        }
    }
}
