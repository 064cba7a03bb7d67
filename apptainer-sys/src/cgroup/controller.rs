//! What cgroups control.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A resource that cgroups control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Which CPUs and memory nodes.
    CpuSet,
    /// Block input and output.
    Io,
    /// Memory.
    Memory,
    /// How many processes.
    Pids,
    /// Counting CPU time; a controller of its own in version 1 only.
    CpuAcct,
    /// Freezing; a controller in version 1 only.
    Freezer,
}

/// A version of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// A hierarchy for each controller, or few of them.
    V1,
    /// One hierarchy.
    V2,
}

impl Controller {
    pub(super) const ALL: [Self; 7] = [
        Self::Cpu,
        Self::CpuSet,
        Self::Io,
        Self::Memory,
        Self::Pids,
        Self::CpuAcct,
        Self::Freezer,
    ];

    /// Its name in a version; `None` where that has no such controller.
    pub fn name(self, version: Version) -> Option<&'static str> {
        Some(match (self, version) {
            (Self::Cpu, _) => "cpu",
            (Self::CpuSet, _) => "cpuset",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
            (Self::Memory, _) => "memory",
            (Self::Pids, _) => "pids",
            (Self::CpuAcct, Version::V1) => "cpuacct",
            (Self::Freezer, Version::V1) => "freezer",
            (Self::CpuAcct | Self::Freezer, Version::V2) => return None,
        })
    }

    pub(super) fn from_name(name: &str, version: Version) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|controller| controller.name(version) == Some(name))
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name(Version::V2).or_else(|| self.name(Version::V1));
        f.write_str(name.unwrap_or_default())
    }
}
