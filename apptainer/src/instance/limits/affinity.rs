//! The CPUs that processes choose to run on.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use apptainer_sys::cgroup::CpuList;
use apptainer_sys::process::{Member, Pid};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd;

use super::{LimitError, Limits};

/// The CPUs for an instance of these limits: among those that the caller has and the limits
/// name, as many as there are whole or begun ones. `None` where neither is limited.
pub(super) fn choose(
    limits: &Limits,
    of_cpus: bool,
    of_cpuset: bool,
) -> Result<Option<CpuList>, LimitError> {
    let count = limits.cpus.filter(|_| of_cpus);
    let among = limits.cpu_list()?.filter(|_| of_cpuset);
    if count.is_none() && among.is_none() {
        return Ok(None);
    }
    let allowed = own()?;
    let among = match among {
        Some(among) => {
            let both: Vec<u32> = allowed.iter().filter(|cpu| among.contains(*cpu)).collect();
            if both.is_empty() {
                return Err(LimitError::NoCpus {
                    wanted: among.to_string(),
                    allowed: allowed.to_string(),
                });
            }
            both
        }
        None => allowed.iter().collect(),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, which is what is wanted"
    )]
    let count = count.map_or(among.len(), |cpus| cpus.ceil() as usize);
    Ok(Some(spread(&among, count)))
}

/// So many of them, and others each time.
fn spread(among: &[u32], count: usize) -> CpuList {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let count = count.clamp(1, among.len());
    let first = NEXT.fetch_add(count, Ordering::Relaxed) + std::process::id() as usize;
    let from_first = among.iter().cycle().skip(first % among.len());
    from_first.take(count).copied().collect()
}

fn own() -> Result<CpuList, LimitError> {
    let set = sched_getaffinity(unistd::Pid::from_raw(0));
    let set = set.map_err(|error| LimitError::processes("look at the CPUs of")(error.into()))?;
    let all = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    Ok(all.filter_map(|cpu| u32::try_from(cpu).ok()).collect())
}

/// Keeps all threads of these processes, and what they start from now on, to these CPUs.
pub(super) fn set(cpus: &CpuList, members: &[Member]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.iter() {
        set.set(cpu as usize)?;
    }
    for member in members {
        set_all(&set, member.process.pid)?;
    }
    Ok(())
}

/// Looks again until there is no other thread: those that came meanwhile have it from whom
/// they were started by, which may have been too early.
fn set_all(set: &CpuSet, pid: Pid) -> io::Result<()> {
    const ROUNDS: usize = 16;
    let mut done = HashSet::new();
    for _ in 0..ROUNDS {
        let mut is_new = false;
        for thread in threads(pid)? {
            if done.insert(thread) {
                is_new = true;
                match sched_setaffinity(unistd::Pid::from_raw(thread), set) {
                    // It has ended.
                    Ok(()) | Err(nix::Error::ESRCH) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !is_new {
            break;
        }
    }
    Ok(())
}

fn threads(pid: Pid) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut threads = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else { break };
        threads.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<Pid>().ok()),
        );
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begun_cpus_are_whole_ones_and_all_have_their_turn() {
        let among = [0, 1, 2, 5];
        let mut used = HashSet::new();
        for _ in 0..8 {
            let chosen = spread(&among, 2);
            assert_eq!(chosen.iter().count(), 2);
            used.extend(chosen.iter());
        }
        assert_eq!(used, HashSet::from(among));
        assert_eq!(spread(&among, 100).to_string(), "0-2,5");
        assert_eq!(spread(&[7], 0).to_string(), "7");
    }

    #[test]
    fn cpus_that_are_not_there_cannot_be_had() {
        let limits = Limits::new().cpuset_cpus("1000-1023");
        let error = choose(&limits, true, true).unwrap_err();
        assert!(matches!(error, LimitError::NoCpus { .. }), "{error}");
        // A cgroup has them.
        assert_eq!(choose(&limits, true, false).unwrap(), None);
    }
}
