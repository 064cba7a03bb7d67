//! What keeps a limit.

use apptainer_sys::cgroup::{Cgroup, CgroupError, Controller, Version};
use serde::{Deserialize, Serialize};

use super::{LimitError, Limits};

/// What keeps a limit, or does something else to an instance as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mechanism {
    /// A cgroup of this version: nothing in the instance escapes it.
    Cgroup(Version),
    /// The kernel's count of the processes of a user in the instance's user namespace.
    ResourceLimit,
    /// The CPUs that processes choose to run on: those in the instance may choose otherwise.
    Affinity,
    /// A task of ours that looks again and again, and kills. What is over between two looks
    /// is not seen.
    Watchdog,
    /// `SIGSTOP` and `SIGCONT` for each process.
    Signals,
    /// What the kernel tells of each process, added up. What a process used that ended
    /// without being waited for is not in it.
    Processes,
}

/// What keeps each limit. `None` for what cannot be kept, and, of an instance, for what it
/// has no limit of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mechanisms {
    /// [`Limits::memory`].
    pub memory: Option<Mechanism>,
    /// [`Limits::memory_high`].
    pub memory_high: Option<Mechanism>,
    /// [`Limits::swap`].
    pub swap: Option<Mechanism>,
    /// [`Limits::cpus`].
    pub cpus: Option<Mechanism>,
    /// [`Limits::cpu_weight`].
    pub cpu_weight: Option<Mechanism>,
    /// [`Limits::cpuset_cpus`].
    pub cpuset_cpus: Option<Mechanism>,
    /// [`Limits::cpuset_mems`].
    pub cpuset_mems: Option<Mechanism>,
    /// [`Limits::pids`]. An instance that turns out to have no user namespace has a watchdog
    /// for what it would have a resource limit for otherwise.
    pub pids: Option<Mechanism>,
    /// Pausing.
    pub pause: Mechanism,
    /// Counting what is used.
    pub stats: Mechanism,
}

impl Mechanisms {
    /// Whether a cgroup keeps a limit.
    pub(super) fn limit_by_group(&self) -> bool {
        let limits = [
            self.memory,
            self.memory_high,
            self.swap,
            self.cpus,
            self.cpu_weight,
            self.cpuset_cpus,
            self.cpuset_mems,
            self.pids,
        ];
        let mut kept = limits.into_iter().flatten();
        kept.any(|by| matches!(by, Mechanism::Cgroup(_)))
    }
}

/// What there is to choose from.
#[derive(Debug, Default)]
pub(super) struct Available {
    /// The controllers that the group has.
    pub(super) controllers: Vec<(Controller, Version)>,
    pub(super) freezer: Option<Version>,
    /// Whether the kernel counts the processes of the caller in each user namespace.
    pub(super) counts_processes: bool,
}

impl Available {
    /// With this group, or without any.
    pub(super) fn of(group: Option<&Cgroup>) -> Result<Self, CgroupError> {
        let counts_processes = super::threads::are_counted();
        let Some(group) = group else {
            return Ok(Self {
                counts_processes,
                ..Self::default()
            });
        };
        let mut controllers = Vec::new();
        let all = [
            Controller::Cpu,
            Controller::CpuSet,
            Controller::Memory,
            Controller::Pids,
        ];
        for controller in all {
            let version = group.version(controller)?;
            controllers.extend(version.map(|version| (controller, version)));
        }
        let is_frozen = group.unified().map(|folder| folder.join("cgroup.freeze"));
        let freezer = if is_frozen.is_some_and(|file| file.exists()) {
            Some(Version::V2)
        } else {
            group.legacy(Controller::Freezer).map(|_| Version::V1)
        };
        Ok(Self {
            controllers,
            freezer,
            counts_processes,
        })
    }

    fn group(&self, controller: Controller) -> Option<Mechanism> {
        let mut controllers = self.controllers.iter();
        let found = controllers.find(|(found, _)| *found == controller);
        found.map(|(_, version)| Mechanism::Cgroup(*version))
    }

    /// What would keep each limit.
    pub(super) fn mechanisms(&self) -> Mechanisms {
        let memory = self.group(Controller::Memory);
        let cpu = self.group(Controller::Cpu);
        let cpuset = self.group(Controller::CpuSet);
        let processes = if self.counts_processes {
            Mechanism::ResourceLimit
        } else {
            Mechanism::Watchdog
        };
        Mechanisms {
            memory: memory.or(Some(Mechanism::Watchdog)),
            // Version 1's soft limit slows nothing down.
            memory_high: memory.filter(|by| *by == Mechanism::Cgroup(Version::V2)),
            swap: memory,
            cpus: cpu.or(Some(Mechanism::Affinity)),
            cpu_weight: cpu,
            cpuset_cpus: cpuset.or(Some(Mechanism::Affinity)),
            cpuset_mems: cpuset,
            pids: self.group(Controller::Pids).or(Some(processes)),
            pause: self.freezer.map_or(Mechanism::Signals, Mechanism::Cgroup),
            stats: memory.unwrap_or(Mechanism::Processes),
        }
    }

    /// What keeps each limit that is set; fails for one that nothing keeps.
    pub(super) fn keeping(&self, limits: &Limits) -> Result<Mechanisms, LimitError> {
        let all = self.mechanisms();
        let keep = |field: &'static str, is_set: bool, by: Option<Mechanism>| match by {
            _ if !is_set => Ok(None),
            None => Err(LimitError::Unsupported { field }),
            by => Ok(by),
        };
        Ok(Mechanisms {
            memory: keep("memory", limits.memory.is_some(), all.memory)?,
            memory_high: keep("memory_high", limits.memory_high.is_some(), all.memory_high)?,
            swap: keep("swap", limits.swap.is_some(), all.swap)?,
            cpus: keep("cpus", limits.cpus.is_some(), all.cpus)?,
            cpu_weight: keep("cpu_weight", limits.cpu_weight.is_some(), all.cpu_weight)?,
            cpuset_cpus: keep("cpuset_cpus", limits.cpuset_cpus.is_some(), all.cpuset_cpus)?,
            cpuset_mems: keep("cpuset_mems", limits.cpuset_mems.is_some(), all.cpuset_mems)?,
            pids: keep("pids", limits.pids.is_some(), all.pids)?,
            pause: all.pause,
            stats: all.stats,
        })
    }
}
