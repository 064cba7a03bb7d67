//! The limits, as data.

use std::collections::BTreeMap;

use apptainer_sys::cgroup::{self, Controller, CpuList, Cpus};
use serde::{Deserialize, Serialize};

use super::{LimitError, Mechanism, Mechanisms};
use crate::exec::Resource;

/// What an instance may use of the machine. What is not set is not limited.
///
/// Those of the instance as a whole are kept by a cgroup where the caller may make one, and
/// otherwise by the means that [`Mechanisms`] names, or by none, which fails the start.
/// [`probe`](Self::probe) tells beforehand.
///
/// What Apptainer itself runs for the instance counts as little as can be: its first process
/// and the agent are not counted among `pids`, but for a thread that they start later, and the
/// programs that serve its images are not
/// in the cgroup that is limited. A command that joins the instance from outside, as
/// `apptainer exec` does, is not held to the limits unless Apptainer puts it into the cgroup.
///
/// ```
/// use apptainer::exec::Resource;
/// use apptainer::instance::Limits;
///
/// let limits = Limits::new()
///     .memory(512 << 20)
///     .cpus(1.5)
///     .pids(200)
///     .resource(Resource::OpenFiles, 1024);
/// let text = r#"{"memory":536870912,"cpus":1.5,"pids":200,"resources":{"open_files":1024}}"#;
/// assert_eq!(serde_json::from_str::<Limits>(text)?, limits);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Memory, in bytes: for more, something is killed. A cgroup counts all, with caches of
    /// files, and has the kernel kill the process that it deems best; otherwise a watchdog
    /// looks several times a second, and kills all that the instance runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory, in bytes, beyond which the instance is slowed down and its memory reclaimed.
    /// Takes a cgroup of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<u64>,
    /// Swap besides the memory, in bytes. Takes a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// CPU time per time: 1.5 is one and a half CPUs. Without a cgroup the instance is kept to
    /// so many CPUs, rounded up, which what runs in it may undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// The share of CPU time when there is too little, 1 to 10000; others have 100. Takes a
    /// cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// The CPUs that it may run on, by number: `0-3,8`. Without a cgroup what runs in it may
    /// undo that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that it may use, by number: `0-1`. Takes a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads. Without a cgroup, it is counted by the kernel for each user in
    /// the instance, if that has a user namespace (Linux 5.14), and looked at by a watchdog
    /// otherwise, which kills all that the instance runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// What each of its processes may use, as setrlimit(2) has it. Nothing in the instance may
    /// raise it; of a command of the caller's, [`rlimit`](crate::exec::Command::rlimit) may.
    /// With any, commands take an agent, on a terminal too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<Resource, u64>,
}

impl Limits {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// So much memory, in bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Slowed down beyond so much memory, in bytes.
    pub fn memory_high(mut self, bytes: u64) -> Self {
        self.memory_high = Some(bytes);
        self
    }

    /// So much swap besides the memory, in bytes.
    pub fn swap(mut self, bytes: u64) -> Self {
        self.swap = Some(bytes);
        self
    }

    /// So many CPUs: 1.5 is one and a half.
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Such a share of CPU time when there is too little, 1 to 10000; others have 100.
    pub fn cpu_weight(mut self, weight: u32) -> Self {
        self.cpu_weight = Some(weight);
        self
    }

    /// Only these CPUs: `0-3,8`.
    pub fn cpuset_cpus(mut self, cpus: impl Into<String>) -> Self {
        self.cpuset_cpus = Some(cpus.into());
        self
    }

    /// Only these memory nodes: `0-1`.
    pub fn cpuset_mems(mut self, nodes: impl Into<String>) -> Self {
        self.cpuset_mems = Some(nodes.into());
        self
    }

    /// So many processes and threads.
    pub fn pids(mut self, count: u64) -> Self {
        self.pids = Some(count);
        self
    }

    /// So much for each process.
    pub fn resource(mut self, resource: Resource, most: u64) -> Self {
        self.resources.insert(resource, most);
        self
    }

    /// What would keep each limit, for an instance that this process starts now.
    ///
    /// To find out, it makes a cgroup, if it may, and removes it.
    pub fn probe() -> Result<Mechanisms, LimitError> {
        super::enclosure::probe()
    }

    /// The controllers without which it cannot be kept, or not so well.
    pub(super) fn controllers(&self) -> Vec<Controller> {
        // Those that count what is used are wanted for that.
        let mut controllers = vec![Controller::Cpu, Controller::Memory, Controller::Pids];
        if self.cpuset_cpus.is_some() || self.cpuset_mems.is_some() {
            controllers.push(Controller::CpuSet);
        }
        controllers
    }

    /// What of it a cgroup is to keep, where one keeps it. The number of processes is not
    /// among it.
    pub(super) fn for_group(&self, kept: &Mechanisms) -> Result<cgroup::Limits, LimitError> {
        let mut limits = cgroup::Limits::new();
        if let Some(bytes) = self.memory.filter(|_| by_group(kept.memory)) {
            limits = limits.memory(bytes);
        }
        if let Some(bytes) = self.memory_high {
            limits = limits.memory_high(bytes);
        }
        if let Some(bytes) = self.swap {
            limits = limits.swap(bytes);
        }
        if let Some(cpus) = self.cpus.filter(|_| by_group(kept.cpus)) {
            limits = limits.cpus(Cpus::from(cpus));
        }
        if let Some(weight) = self.cpu_weight {
            limits = limits.cpu_weight(weight);
        }
        if by_group(kept.cpuset_cpus)
            && let Some(cpus) = self.cpu_list()?
        {
            limits = limits.cpuset_cpus(cpus);
        }
        if let Some(nodes) = list("cpuset_mems", self.cpuset_mems.as_deref())? {
            limits = limits.cpuset_mems(nodes);
        }
        Ok(limits)
    }

    pub(super) fn cpu_list(&self) -> Result<Option<CpuList>, LimitError> {
        list("cpuset_cpus", self.cpuset_cpus.as_deref())
    }
}

fn by_group(kept: Option<Mechanism>) -> bool {
    matches!(kept, Some(Mechanism::Cgroup(_)))
}

fn list(field: &'static str, text: Option<&str>) -> Result<Option<CpuList>, LimitError> {
    let parsed = text.map(str::parse::<CpuList>).transpose();
    parsed.map_err(|error| LimitError::Invalid {
        field: field.to_owned(),
        problem: error.to_string(),
    })
}
