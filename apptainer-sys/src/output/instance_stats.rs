//! `apptainer instance stats --json`.

use serde::{Deserialize, Serialize};

use super::Unknown;

/// What an instance uses, as its cgroup counts it. A limit that is not set is
/// [`u64::MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct InstanceStats {
    /// Processor time.
    pub cpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// Processes.
    pub pids_stats: PidsStats,
    /// What these bindings do not know: block devices, huge pages and more.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuStats {
    /// What was used.
    pub cpu_usage: CpuUsage,
    /// What was withheld.
    pub throttling_data: ThrottlingData,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Processor time that was used, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuUsage {
    /// In all.
    pub total_usage: u64,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In programs.
    pub usage_in_usermode: u64,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Processor time that a limit withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ThrottlingData {
    /// How many periods there were.
    pub periods: u64,
    /// In how many of them something was withheld.
    pub throttled_periods: u64,
    /// How much, in nanoseconds.
    pub throttled_time: u64,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Cached files, in bytes.
    pub cache: u64,
    /// Without swap.
    pub usage: MemoryUsage,
    /// With swap.
    pub swap_usage: MemoryUsage,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Memory of one kind, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Now.
    pub usage: u64,
    /// At most, so far.
    pub max_usage: u64,
    /// How often the limit was met.
    pub failcnt: u64,
    /// The limit.
    pub limit: u64,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; 0 where there is no limit.
    pub limit: u64,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_not_set_fit() {
        let text = r#"{"memory_stats":{"usage":{"usage":4096,"limit":18446744073709551615},
            "stats":{"anon":1}},"pids_stats":{"current":2},"blkio_stats":{}}"#;
        let stats: InstanceStats = serde_json::from_str(text).unwrap();
        assert_eq!(stats.memory_stats.usage.usage, 4096);
        assert_eq!(stats.memory_stats.usage.limit, u64::MAX);
        assert_eq!(stats.pids_stats.current, 2);
        assert_eq!(stats.cpu_stats, CpuStats::default());
        assert!(stats.memory_stats.unknown.contains_key("stats"));
        assert!(stats.unknown.contains_key("blkio_stats"));
    }
}
