//! What a group uses.

use std::path::Path;
use std::time::Duration;

use super::{BlockDevice, Cgroup, CgroupError, Controller, Limit, Version, file};

/// What a group uses, and has used since it was made. What no controller counts
/// is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes.
    pub pids: Option<PidsStats>,
    /// Reading and writing, by device. Empty also where the kernel counts none.
    pub io: Option<Vec<IoStats>>,
}

/// CPU time that a group has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it.
    pub usage: Duration,
    /// The processes' own.
    pub user: Duration,
    /// The kernel's on their behalf.
    pub system: Duration,
    /// In how many periods the group was held up, for it had used its share.
    pub throttled_periods: u64,
    /// For how long.
    pub throttled: Duration,
}

/// Memory that a group uses, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// All of it, caches of files included.
    pub current: u64,
    /// The most that it was; Linux before 5.19 keeps that in version 1 only.
    pub peak: Option<u64>,
    /// The limit.
    pub limit: Limit,
    /// Memory of processes.
    pub anonymous: u64,
    /// Caches of files.
    pub file: u64,
    /// How many processes were killed for want of memory.
    pub oom_kills: u64,
}

/// Processes and threads of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// The limit.
    pub limit: Limit,
    /// How often another was refused.
    pub refused: u64,
}

/// What a group has read from and written to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// The device.
    pub device: BlockDevice,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl Cgroup {
    /// What it uses.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        // Where it is gone, nothing is counted, which is not the same as nothing used.
        file::read(self.path(), "cgroup.procs")?;
        Ok(Stats {
            cpu: self.cpu_stats()?,
            memory: match self.control(Controller::Memory)? {
                Some((Version::V1, folder)) => memory_v1(folder)?,
                Some((Version::V2, folder)) => memory_v2(folder)?,
                None => None,
            },
            pids: match self.control(Controller::Pids)? {
                Some((_, folder)) => pids(folder)?,
                None => None,
            },
            io: match self.control(Controller::Io)? {
                Some((Version::V1, folder)) => Some(io_v1(folder)?),
                Some((Version::V2, folder)) => Some(io_v2(folder)?),
                None => None,
            },
        })
    }

    /// Version 2 counts time in every group, with a controller or without.
    fn cpu_stats(&self) -> Result<Option<CpuStats>, CgroupError> {
        let accounting = self.legacy(Controller::CpuAcct);
        let throttling = match self.legacy(Controller::Cpu).or_else(|| self.unified()) {
            Some(folder) => file::Keyed::read(folder, "cpu.stat")?.unwrap_or_default(),
            None => file::Keyed::default(),
        };
        let mut stats = match (accounting, self.unified()) {
            (Some(folder), _) => cpu_v1(folder)?,
            (None, Some(folder)) => cpu_v2(folder)?,
            (None, None) => None,
        };
        if let Some(stats) = &mut stats {
            let nanos = throttling.get("throttled_time").unwrap_or(0);
            let micros = throttling.get("throttled_usec").unwrap_or(0);
            stats.throttled = Duration::from_nanos(nanos) + Duration::from_micros(micros);
            stats.throttled_periods = throttling.get("nr_throttled").unwrap_or(0);
        }
        Ok(stats)
    }
}

fn cpu_v1(folder: &Path) -> Result<Option<CpuStats>, CgroupError> {
    let nanos = |name| {
        let nanos = file::number(folder, name)?;
        Ok(Duration::from_nanos(nanos.unwrap_or(0)))
    };
    Ok(Some(CpuStats {
        usage: nanos("cpuacct.usage")?,
        user: nanos("cpuacct.usage_user")?,
        system: nanos("cpuacct.usage_sys")?,
        ..CpuStats::default()
    }))
}

fn cpu_v2(folder: &Path) -> Result<Option<CpuStats>, CgroupError> {
    let Some(stat) = file::Keyed::read(folder, "cpu.stat")? else {
        return Ok(None);
    };
    let micros = |name| Duration::from_micros(stat.get(name).unwrap_or(0));
    Ok(Some(CpuStats {
        usage: micros("usage_usec"),
        user: micros("user_usec"),
        system: micros("system_usec"),
        ..CpuStats::default()
    }))
}

fn memory_v1(folder: &Path) -> Result<Option<MemoryStats>, CgroupError> {
    let Some(current) = file::number(folder, "memory.usage_in_bytes")? else {
        return Ok(None);
    };
    let stat = file::Keyed::read(folder, "memory.stat")?.unwrap_or_default();
    let oom = file::Keyed::read(folder, "memory.oom_control")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        current,
        peak: file::number(folder, "memory.max_usage_in_bytes")?,
        limit: limit_v1(folder, "memory.limit_in_bytes")?.unwrap_or(Limit::Unlimited),
        anonymous: stat.get("total_rss").unwrap_or(0),
        file: stat.get("total_cache").unwrap_or(0),
        oom_kills: oom.get("oom_kill").unwrap_or(0),
    }))
}

/// A limit of version 1, where none is the greatest number of pages.
pub(super) fn limit_v1(folder: &Path, name: &str) -> Result<Option<Limit>, CgroupError> {
    const NONE: u64 = i64::MAX.cast_unsigned() / (1 << 16) * (1 << 16);
    let bytes: Option<u64> = file::number(folder, name)?;
    // With pages of up to 64 KiB.
    Ok(bytes.map(|bytes| {
        if bytes >= NONE {
            Limit::Unlimited
        } else {
            Limit::Max(bytes)
        }
    }))
}

fn memory_v2(folder: &Path) -> Result<Option<MemoryStats>, CgroupError> {
    let Some(current) = file::number(folder, "memory.current")? else {
        return Ok(None);
    };
    let stat = file::Keyed::read(folder, "memory.stat")?.unwrap_or_default();
    let events = file::Keyed::read(folder, "memory.events")?.unwrap_or_default();
    Ok(Some(MemoryStats {
        current,
        peak: file::number(folder, "memory.peak")?,
        limit: file::limit(folder, "memory.max")?.unwrap_or(Limit::Unlimited),
        anonymous: stat.get("anon").unwrap_or(0),
        file: stat.get("file").unwrap_or(0),
        oom_kills: events.get("oom_kill").unwrap_or(0),
    }))
}

fn pids(folder: &Path) -> Result<Option<PidsStats>, CgroupError> {
    let Some(current) = file::number(folder, "pids.current")? else {
        return Ok(None);
    };
    let events = file::Keyed::read(folder, "pids.events")?.unwrap_or_default();
    Ok(Some(PidsStats {
        current,
        limit: file::limit(folder, "pids.max")?.unwrap_or(Limit::Unlimited),
        refused: events.get("max").unwrap_or(0),
    }))
}

fn device(text: &str) -> Option<BlockDevice> {
    let (major, minor) = text.split_once(':')?;
    Some(BlockDevice {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// `MAJOR:MINOR rbytes=.. wbytes=.. rios=.. wios=..`, a device a line.
fn io_v2(folder: &Path) -> Result<Vec<IoStats>, CgroupError> {
    let text = file::read_if_there(folder, "io.stat")?.unwrap_or_default();
    Ok(text.lines().filter_map(parse_io_v2).collect())
}

fn parse_io_v2(line: &str) -> Option<IoStats> {
    let (device_text, rest) = line.split_once(' ')?;
    let get = |name: &str| {
        rest.split_whitespace()
            .filter_map(|word| word.split_once('='))
            .find(|(found, _)| *found == name)
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(0)
    };
    Some(IoStats {
        device: device(device_text)?,
        read_bytes: get("rbytes"),
        written_bytes: get("wbytes"),
        reads: get("rios"),
        writes: get("wios"),
    })
}

fn io_v1(folder: &Path) -> Result<Vec<IoStats>, CgroupError> {
    let bytes = "blkio.throttle.io_service_bytes_recursive";
    let operations = "blkio.throttle.io_serviced_recursive";
    let bytes = file::read_if_there(folder, bytes)?.unwrap_or_default();
    let operations = file::read_if_there(folder, operations)?.unwrap_or_default();
    Ok(parse_io_v1(&bytes, &operations))
}

/// `MAJOR:MINOR Read|Write|.. NUMBER`, several lines a device, in two files.
fn parse_io_v1(bytes: &str, operations: &str) -> Vec<IoStats> {
    let mut all: Vec<IoStats> = Vec::new();
    for (is_bytes, text) in [(true, bytes), (false, operations)] {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(device), Some(kind), Some(number)) = (
                words.next().and_then(device),
                words.next(),
                words.next().and_then(|number| number.parse().ok()),
            ) else {
                continue;
            };
            let known = all.iter().position(|stats| stats.device == device);
            let index = known.unwrap_or_else(|| {
                all.push(IoStats {
                    device,
                    read_bytes: 0,
                    written_bytes: 0,
                    reads: 0,
                    writes: 0,
                });
                all.len() - 1
            });
            match (is_bytes, kind) {
                (true, "Read") => all[index].read_bytes = number,
                (true, "Write") => all[index].written_bytes = number,
                (false, "Read") => all[index].reads = number,
                (false, "Write") => all[index].writes = number,
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_line_in_version_2() {
        let line = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0";
        let stats = parse_io_v2(line).unwrap();
        assert_eq!((stats.device.major, stats.device.minor), (8, 16));
        assert_eq!(
            (stats.read_bytes, stats.written_bytes),
            (1_459_200, 314_773_504)
        );
        assert_eq!((stats.reads, stats.writes), (192, 353));
    }

    #[test]
    fn a_device_has_several_lines_in_version_1() {
        let bytes = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n8:16 Read 7\nTotal 4615\n";
        let stats = parse_io_v1(bytes, "8:16 Write 3\n8:0 Read 2\n");
        assert_eq!(stats.len(), 2);
        assert_eq!(
            (stats[0].read_bytes, stats[0].written_bytes, stats[0].reads),
            (4096, 512, 2)
        );
        assert_eq!((stats[1].read_bytes, stats[1].writes), (7, 3));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(one: String, other: String) {
            let _ = parse_io_v2(&one);
            let _ = parse_io_v1(&one, &other);
        }
    }
}
