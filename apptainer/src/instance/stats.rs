//! What an instance uses.

use std::time::Duration;

use apptainer_sys::cgroup::{self, Cgroup, Limit, Version};
use serde::{Deserialize, Serialize};

use super::limits::{LimitError, Mechanism};
use super::processes::Processes;
use super::seconds;
use super::usage::Usage;
use super::{Instance, InstanceError};
use crate::blocking::blocking;

/// What an instance uses, and has used since it was started. `None` for what is not known.
///
/// All that is in the container is in it, what Apptainer itself runs there too: its first
/// process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// How they were found out: a cgroup, or the processes added up.
    pub mechanism: Mechanism,
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Reading and writing.
    pub io: IoStats,
    /// How many processes there are.
    pub processes: usize,
}

/// CPU time that an instance has used. In JSON, times are seconds, with a fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it.
    #[serde(with = "seconds")]
    pub usage: Duration,
    /// The processes' own.
    #[serde(with = "seconds")]
    pub user: Duration,
    /// The kernel's on their behalf.
    #[serde(with = "seconds")]
    pub system: Duration,
    /// For how long the instance was held up, for it had used its share.
    #[serde(with = "seconds::option")]
    pub throttled: Option<Duration>,
    /// In how many periods it was.
    pub throttled_periods: Option<u64>,
}

/// Memory that an instance uses, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// All of it: with caches of files as a cgroup counts it; as processes count it what they
    /// have mapped, and what they share with others divided by how many do.
    pub current: u64,
    /// The most that it was.
    pub peak: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// Memory of processes.
    pub anonymous: u64,
    /// Caches of files, or what of files is mapped.
    pub file: u64,
    /// How many processes were killed for want of memory.
    pub oom_kills: Option<u64>,
}

/// Processes and threads of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// The limit, with what Apptainer runs in the container.
    pub limit: Option<u64>,
}

/// What an instance has read from and written to disks, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IoStats {
    /// Read.
    pub read: Option<u64>,
    /// Written.
    pub written: Option<u64>,
}

impl Stats {
    /// What a group counts, where it counts memory and CPU time; else what all do that is in the
    /// container. Reads the table of processes then.
    pub(super) fn of(group: Option<&Cgroup>, processes: &Processes) -> Result<Self, LimitError> {
        let usage = || {
            let inhabitants = processes.inhabitants();
            let inhabitants = inhabitants.map_err(LimitError::processes("find"))?;
            Usage::of(&inhabitants).map_err(LimitError::processes("count"))
        };
        let Some(group) = group else {
            return Ok(Self::of_processes(usage()?));
        };
        let stats = group.stats()?;
        let version = group.version(cgroup::Controller::Memory)?;
        match (version, stats.cpu, stats.memory) {
            (Some(version), Some(cpu), Some(memory)) => {
                let processes = group.processes()?.len();
                Ok(Self::of_group(version, &stats, cpu, memory, processes))
            }
            _ => Ok(Self::of_processes(usage()?)),
        }
    }

    fn of_group(
        version: Version,
        stats: &cgroup::Stats,
        cpu: cgroup::CpuStats,
        memory: cgroup::MemoryStats,
        processes: usize,
    ) -> Self {
        let io = stats.io.as_deref();
        let sum = |of: fn(&cgroup::IoStats) -> u64| io.map(|all| all.iter().map(of).sum());
        Self {
            mechanism: Mechanism::Cgroup(version),
            cpu: CpuStats {
                usage: cpu.usage,
                user: cpu.user,
                system: cpu.system,
                throttled: Some(cpu.throttled),
                throttled_periods: Some(cpu.throttled_periods),
            },
            memory: MemoryStats {
                current: memory.current,
                peak: memory.peak,
                limit: number(memory.limit),
                anonymous: memory.anonymous,
                file: memory.file,
                oom_kills: Some(memory.oom_kills),
            },
            pids: PidsStats {
                current: stats.pids.map_or(processes as u64, |pids| pids.current),
                limit: stats.pids.and_then(|pids| number(pids.limit)),
            },
            io: IoStats {
                read: sum(|io| io.read_bytes),
                written: sum(|io| io.written_bytes),
            },
            processes,
        }
    }

    fn of_processes(usage: Usage) -> Self {
        Self {
            mechanism: Mechanism::Processes,
            cpu: CpuStats {
                usage: usage.user + usage.system,
                user: usage.user,
                system: usage.system,
                throttled: None,
                throttled_periods: None,
            },
            memory: MemoryStats {
                current: usage.memory.all,
                peak: None,
                limit: None,
                anonymous: usage.memory.anonymous,
                file: usage.memory.file,
                oom_kills: None,
            },
            pids: PidsStats {
                current: usage.threads,
                limit: None,
            },
            io: IoStats {
                read: usage.read,
                written: usage.written,
            },
            processes: usage.processes,
        }
    }
}

fn number(limit: Limit) -> Option<u64> {
    match limit {
        Limit::Max(most) => Some(most),
        Limit::Unlimited => None,
    }
}

impl Instance {
    /// What it uses: as the cgroup counts it that Apptainer made for it, if it did, and else
    /// as its processes do. Commands in it are counted too.
    pub async fn stats(&self) -> Result<Stats, InstanceError> {
        let failed = |source| self.limit_error("count what is used by", source);
        let group = self.own_group().await?;
        let processes = self.processes().clone();
        let stats = blocking(move || Stats::of(group.as_ref(), &processes)).await;
        stats.map_err(failed)
    }
}
