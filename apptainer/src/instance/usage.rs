//! What single processes use, as `/proc` has it.

use std::fs;
use std::io;
use std::time::Duration;

use apptainer_sys::process::{Member, Pid};
use nix::unistd::{SysconfVar, sysconf};

/// What processes use, added up; of those that they waited for, the CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) threads: u64,
    pub(super) memory: Memory,
    /// Bytes, of those that could be asked.
    pub(super) read: Option<u64>,
    pub(super) written: Option<u64>,
    pub(super) processes: usize,
}

/// Bytes; what several processes share is divided among them, where the kernel lets the
/// caller know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) all: u64,
    pub(super) anonymous: u64,
    pub(super) file: u64,
}

impl Usage {
    /// Reads that of all of them. What ends meanwhile counts for nothing.
    pub(super) fn of(members: &[Member]) -> io::Result<Self> {
        let mut usage = Self::default();
        for member in members {
            let pid = member.process.pid;
            let Some(stat) = read(pid, "stat")?.as_deref().and_then(Stat::parse) else {
                continue;
            };
            usage.user += stat.user;
            usage.system += stat.system;
            usage.threads += stat.threads;
            usage.memory.add(Memory::divided(pid)?);
            usage.processes += 1;
            if let Some(io) = read(pid, "io")? {
                let add = |sum: &mut Option<u64>, more: Option<u64>| {
                    if let Some(more) = more {
                        *sum = Some(sum.unwrap_or(0) + more);
                    }
                };
                add(&mut usage.read, number(&io, "read_bytes:"));
                add(&mut usage.written, number(&io, "write_bytes:"));
            }
        }
        Ok(usage)
    }
}

impl Memory {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.anonymous += other.anonymous;
        self.file += other.file;
    }

    /// That of a process, what it shares divided among those who have it, for which the kernel
    /// walks through all of it.
    fn divided(pid: Pid) -> io::Result<Self> {
        let Some(rollup) = read(pid, "smaps_rollup")? else {
            return Self::resident(pid);
        };
        let bytes = |name| number(&rollup, name).map(|kib| kib * 1024);
        let Some(all) = bytes("Pss:") else {
            return Self::resident(pid);
        };
        Ok(Self {
            all,
            anonymous: bytes("Pss_Anon:").or(bytes("Anonymous:")).unwrap_or(0),
            file: bytes("Pss_File:").unwrap_or(0),
        })
    }

    /// That of a process, with all that it shares; cheap.
    fn resident(pid: Pid) -> io::Result<Self> {
        let status = read(pid, "status")?.unwrap_or_default();
        let bytes = |name| number(&status, name).unwrap_or(0) * 1024;
        Ok(Self {
            all: bytes("VmRSS:"),
            anonymous: bytes("RssAnon:"),
            file: bytes("RssFile:"),
        })
    }

    /// How much these have together, exactly only if that may be more than `limit`.
    pub(super) fn beyond(members: &[Member], limit: u64) -> io::Result<u64> {
        let sum = |of: fn(Pid) -> io::Result<Self>| {
            let mut members = members.iter();
            members.try_fold(0, |sum, member| {
                Ok::<u64, io::Error>(sum + of(member.process.pid)?.all)
            })
        };
        match sum(Self::resident)? {
            most if most <= limit => Ok(most),
            _ => sum(Self::divided),
        }
    }
}

struct Stat {
    user: Duration,
    system: Duration,
    threads: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`, proc(5). The name stands in parentheses and may hold any.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = |own: usize, waited_for: usize| {
            Some(duration(number(own)?.saturating_add(number(waited_for)?)))
        };
        Some(Self {
            user: ticks(11, 13)?,
            system: ticks(12, 14)?,
            threads: number(17)?,
        })
    }
}

fn duration(ticks: u64) -> Duration {
    // Linux has had 100 on all but the oldest processors.
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    let per_second = per_second.and_then(|ticks| u64::try_from(ticks).ok());
    let per_second = per_second.filter(|ticks| *ticks > 0).unwrap_or(100);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

/// A file of a process; `None` when that has ended, or the file is not for the caller to read.
fn read(pid: Pid, name: &str) -> io::Result<Option<String>> {
    match fs::read(format!("/proc/{pid}/{name}")) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) || error.raw_os_error() == Some(nix::libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The number in a line that begins so.
fn number(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_threads_are_found_behind_any_name() {
        let line = "7 (a) 1 (b) S 1 7 7 0 -1 0 0 0 0 0 150 20 50 30 20 0 3 0 999 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.user, duration(200));
        assert_eq!(stat.system, duration(50));
        assert_eq!(stat.threads, 3);
        assert!(Stat::parse("7 (a").is_none() && Stat::parse("7 (a) S 1").is_none());
    }

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let text = "Pss_Anon:  12 kB\nPss:      40 kB\nbad: x\n";
        assert_eq!(number(text, "Pss:"), Some(40));
        assert_eq!(number(text, "Pss_Anon:"), Some(12));
        assert_eq!(number(text, "bad:"), None);
        assert_eq!(number(text, "none:"), None);
    }

    #[test]
    fn what_has_ended_uses_nothing() {
        assert_eq!(Memory::divided(Pid::MAX).unwrap(), Memory::default());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text: String, name: String) {
            let _ = Stat::parse(&text);
            let _ = number(&text, &name);
        }
    }
}
