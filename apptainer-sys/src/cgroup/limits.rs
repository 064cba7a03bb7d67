//! Setting limits.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::stats::limit_v1;
use super::{Cgroup, CgroupError, Controller, CpuList, Cpus, Limit, Version, file};

/// Limits for a group; what is not set stays as it is.
///
/// In units that both versions of the interface have; where they differ it is
/// version 2's meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "limits do nothing until a group is given them"]
pub struct Limits {
    cpus: Option<Limit<Cpus>>,
    cpu_weight: Option<u32>,
    cpuset_cpus: Option<CpuList>,
    cpuset_mems: Option<CpuList>,
    memory: Option<Limit>,
    memory_high: Option<Limit>,
    swap: Option<Limit>,
    pids: Option<Limit>,
    io: Vec<IoLimit>,
}

/// A block device, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockDevice {
    /// The number of its driver.
    pub major: u32,
    /// Its number among the driver's.
    pub minor: u32,
}

impl BlockDevice {
    /// The whole disk at this path: `/dev/sda`. The kernel limits no partitions.
    pub fn at(path: impl AsRef<Path>) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.file_type().is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a block device",
            ));
        }
        let number = |number: u64| u32::try_from(number).map_err(|_| io::ErrorKind::InvalidData);
        Ok(Self {
            major: number(nix::sys::stat::major(metadata.rdev()))?,
            minor: number(nix::sys::stat::minor(metadata.rdev()))?,
        })
    }
}

impl std::fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Limits of reading from and writing to one device; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoLimit {
    /// The device.
    pub device: BlockDevice,
    /// Bytes read a second.
    pub read_bytes: Option<Limit>,
    /// Bytes written a second.
    pub write_bytes: Option<Limit>,
    /// Reads a second.
    pub read_operations: Option<Limit>,
    /// Writes a second.
    pub write_operations: Option<Limit>,
}

impl IoLimit {
    /// None yet for this device.
    pub fn new(device: BlockDevice) -> Self {
        Self {
            device,
            read_bytes: None,
            write_bytes: None,
            read_operations: None,
            write_operations: None,
        }
    }

    /// Each that is set, with its name in version 2 and its file in version 1.
    fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, Limit)> {
        [
            ("rbps", "blkio.throttle.read_bps_device", self.read_bytes),
            ("wbps", "blkio.throttle.write_bps_device", self.write_bytes),
            (
                "riops",
                "blkio.throttle.read_iops_device",
                self.read_operations,
            ),
            (
                "wiops",
                "blkio.throttle.write_iops_device",
                self.write_operations,
            ),
        ]
        .into_iter()
        .filter_map(|(name, file, limit)| Some((name, file, limit?)))
    }
}

impl Limits {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// So much CPU time, in periods of 100 milliseconds.
    pub fn cpus(mut self, cpus: impl Into<Limit<Cpus>>) -> Self {
        self.cpus = Some(cpus.into());
        self
    }

    /// CPU time relative to the group's siblings, 1 to 10000; 100 is usual.
    pub fn cpu_weight(mut self, weight: u32) -> Self {
        self.cpu_weight = Some(weight);
        self
    }

    /// Only these CPUs.
    pub fn cpuset_cpus(mut self, cpus: CpuList) -> Self {
        self.cpuset_cpus = Some(cpus);
        self
    }

    /// Only these memory nodes.
    pub fn cpuset_mems(mut self, nodes: CpuList) -> Self {
        self.cpuset_mems = Some(nodes);
        self
    }

    /// So much memory, in bytes; the kernel kills for more.
    pub fn memory(mut self, bytes: impl Into<Limit>) -> Self {
        self.memory = Some(bytes.into());
        self
    }

    /// So much memory, in bytes; beyond it the group is slowed down and its memory
    /// reclaimed. Version 1 only reclaims, and only when memory is short.
    pub fn memory_high(mut self, bytes: impl Into<Limit>) -> Self {
        self.memory_high = Some(bytes.into());
        self
    }

    /// So much swap besides the memory, in bytes.
    pub fn swap(mut self, bytes: impl Into<Limit>) -> Self {
        self.swap = Some(bytes.into());
        self
    }

    /// So many processes and threads.
    pub fn pids(mut self, count: impl Into<Limit>) -> Self {
        self.pids = Some(count.into());
        self
    }

    /// Limits of one device, besides those of others.
    pub fn io(mut self, limit: IoLimit) -> Self {
        self.io.push(limit);
        self
    }
}

impl Cgroup {
    /// Sets limits.
    ///
    /// Fails before anything is set where a controller is missing or a value makes no
    /// sense; the kernel may refuse one after others have been set.
    pub fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        let control = |controller, is_needed: bool| {
            if !is_needed {
                return Ok(None);
            }
            let found = self.control(controller)?;
            found.map(Some).ok_or_else(|| self.lacks(controller))
        };
        let has_cpu = limits.cpus.is_some() || limits.cpu_weight.is_some();
        let has_cpuset = limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some();
        let has_memory =
            limits.memory.is_some() || limits.memory_high.is_some() || limits.swap.is_some();
        let cpu = control(Controller::Cpu, has_cpu)?;
        let cpuset = control(Controller::CpuSet, has_cpuset)?;
        let memory = control(Controller::Memory, has_memory)?;
        let pids = control(Controller::Pids, limits.pids.is_some())?;
        let io = control(Controller::Io, !limits.io.is_empty())?;
        limits.check(memory, io.map(|(version, _)| version))?;
        if let Some((version, folder)) = cpu {
            limits.write_cpu(version, folder)?;
        }
        if let Some((_, folder)) = cpuset {
            limits.write_cpuset(folder)?;
        }
        match memory {
            Some((Version::V1, folder)) => limits.write_memory_v1(folder)?,
            Some((Version::V2, folder)) => limits.write_memory_v2(folder)?,
            None => {}
        }
        if let (Some((_, folder)), Some(pids)) = (pids, limits.pids) {
            file::write(folder, "pids.max", &pids.to_string())?;
        }
        if let Some((version, folder)) = io {
            limits.write_io(version, folder)?;
        }
        Ok(())
    }
}

impl Limits {
    /// Whether the kernel can be told.
    fn check(
        &self,
        memory: Option<(Version, &Path)>,
        io: Option<Version>,
    ) -> Result<(), CgroupError> {
        let invalid = |reason| Err(CgroupError::InvalidLimit { reason });
        if self
            .cpus
            .is_some_and(|cpus| cpus < Limit::Max(Cpus::from_millis(10)))
        {
            return invalid("it must be at least a hundredth of a CPU");
        }
        if self
            .cpu_weight
            .is_some_and(|weight| !(1..=10_000).contains(&weight))
        {
            return invalid("a weight is between 1 and 10000");
        }
        let lists = [&self.cpuset_cpus, &self.cpuset_mems];
        if lists.into_iter().flatten().any(CpuList::is_empty) {
            return invalid("there must be at least one CPU, and one memory node");
        }
        if let (Some((version, folder)), Some(swap)) = (memory, self.swap) {
            let name = match version {
                Version::V1 => WITH_SWAP,
                Version::V2 => SWAP,
            };
            // No swap at all is no more than was asked for.
            let is_void = swap == Limit::Unlimited || !has_swap();
            if !is_void && !folder.join(name).exists() {
                return invalid("the kernel counts no swap");
            }
        }
        for (_, name, limit) in self.io.iter().flat_map(IoLimit::each) {
            if limit == Limit::Max(0) {
                return invalid("at least one byte or operation a second must be left");
            }
            let is_large = limit != Limit::Unlimited && limit > Limit::Max(u32::MAX.into());
            if io == Some(Version::V1) && name.contains("iops") && is_large {
                return invalid("version 1 of cgroups counts operations up to 2^32 a second");
            }
        }
        Ok(())
    }

    fn write_cpu(&self, version: Version, folder: &Path) -> Result<(), CgroupError> {
        /// In microseconds, the kernel's default.
        const PERIOD: u64 = 100_000;
        if let Some(cpus) = self.cpus {
            let quota = match cpus {
                Limit::Max(cpus) => Limit::Max(u64::from(cpus.as_millis()) * PERIOD / 1000),
                Limit::Unlimited => Limit::Unlimited,
            };
            match version {
                Version::V2 => file::write(folder, "cpu.max", &format!("{quota} {PERIOD}"))?,
                Version::V1 => {
                    file::write(folder, "cpu.cfs_period_us", &PERIOD.to_string())?;
                    file::write(folder, "cpu.cfs_quota_us", &number_v1(quota))?;
                }
            }
        }
        if let Some(weight) = self.cpu_weight {
            match version {
                Version::V2 => file::write(folder, "cpu.weight", &weight.to_string())?,
                Version::V1 => {
                    // What is usual in the one is 100, in the other 1024.
                    let shares = u64::from(weight) * 1024 / 100;
                    file::write(folder, "cpu.shares", &shares.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn write_cpuset(&self, folder: &Path) -> Result<(), CgroupError> {
        let lists = [
            ("cpuset.cpus", &self.cpuset_cpus),
            ("cpuset.mems", &self.cpuset_mems),
        ];
        for (name, list) in lists {
            if let Some(list) = list {
                file::write(folder, name, &list.to_string())?;
            }
        }
        Ok(())
    }

    fn write_memory_v2(&self, folder: &Path) -> Result<(), CgroupError> {
        // Where the kernel counts no swap, `check` has found that there is none.
        let swap = self.swap.filter(|_| folder.join(SWAP).exists());
        let limits = [
            ("memory.high", self.memory_high),
            ("memory.max", self.memory),
            (SWAP, swap),
        ];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                file::write(folder, name, &limit.to_string())?;
            }
        }
        Ok(())
    }

    /// Version 1 limits memory, and memory with swap. So the swap that is allowed now
    /// is kept by moving both, in the order in which the second is never less than
    /// the first.
    fn write_memory_v1(&self, folder: &Path) -> Result<(), CgroupError> {
        const MEMORY: &str = "memory.limit_in_bytes";
        if let Some(high) = self.memory_high {
            file::write(folder, "memory.soft_limit_in_bytes", &number_v1(high))?;
        }
        let current = limit_v1(folder, MEMORY)?.unwrap_or(Limit::Unlimited);
        let memory = self.memory.unwrap_or(current);
        let Some(both) = limit_v1(folder, WITH_SWAP)? else {
            return match self.memory {
                Some(memory) => file::write(folder, MEMORY, &number_v1(memory)),
                None => Ok(()),
            };
        };
        if self.memory.is_none() && self.swap.is_none() {
            return Ok(());
        }
        let swap = self.swap.unwrap_or(match (current, both) {
            (Limit::Max(memory), Limit::Max(both)) => Limit::Max(both.saturating_sub(memory)),
            _ => Limit::Unlimited,
        });
        let wanted = match (memory, swap) {
            (Limit::Max(memory), Limit::Max(swap)) => Limit::Max(memory.saturating_add(swap)),
            (_, Limit::Unlimited) => Limit::Unlimited,
            (Limit::Unlimited, Limit::Max(_)) => {
                let reason = "version 1 of cgroups limits swap only together with memory";
                return Err(CgroupError::InvalidLimit { reason });
            }
        };
        let mut writes = [(MEMORY, memory), (WITH_SWAP, wanted)];
        if wanted > both {
            writes.reverse();
        }
        writes
            .into_iter()
            .try_for_each(|(name, limit)| file::write(folder, name, &number_v1(limit)))
    }

    fn write_io(&self, version: Version, folder: &Path) -> Result<(), CgroupError> {
        for limit in &self.io {
            let device = limit.device;
            match version {
                Version::V2 => {
                    let words: Vec<_> = limit
                        .each()
                        .map(|(name, _, limit)| format!("{name}={limit}"))
                        .collect();
                    if !words.is_empty() {
                        let line = format!("{device} {}", words.join(" "));
                        file::write(folder, "io.max", &line)?;
                    }
                }
                Version::V1 => {
                    for (_, name, limit) in limit.each() {
                        let most = match limit {
                            Limit::Max(most) => most,
                            // Which is its word for none.
                            Limit::Unlimited => 0,
                        };
                        file::write(folder, name, &format!("{device} {most}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

const SWAP: &str = "memory.swap.max";
const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";

/// Whether this machine swaps at all.
fn has_swap() -> bool {
    // A line of names, and then a line for each area.
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

/// Version 1 has -1 for no limit.
fn number_v1(limit: Limit) -> String {
    match limit {
        Limit::Max(most) => most.to_string(),
        Limit::Unlimited => "-1".to_owned(),
    }
}
