//! Making an instance that was used fit for the next.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Member, Pid, Process, Signal, State};
use tokio::time::{Instant, timeout_at};

use crate::blocking::blocking;
use crate::instance::processes::{Processes, is_keeper};
use crate::process::Ended;

/// What becomes of an instance that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// It is stopped, and another is started in the background: whoever gets that finds nothing
    /// of what was done. With [`temporary_overlay`](crate::instance::Spec::temporary_overlay)
    /// each has one of its own, which is empty at first and removed with it.
    #[default]
    Replace,
    /// All that was started in it is killed, and it is used again. Its payload goes on, with all
    /// that this has started; but for what was detached from it after it was
    /// [ready](crate::instance::State::Ready), which nobody can tell from the rest.
    ///
    /// Nothing that was written is cleaned: in `/tmp`, the home directory, what is bound into
    /// it. A spec whose instances can write to their own file system is refused.
    Reuse,
}

/// What ran in an instance before anybody used it, by pid.
#[derive(Debug)]
pub(super) struct Original(HashMap<Pid, Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    started: u64,
    /// Whether it is what commands are children of, and so not the payload's.
    is_keeper: bool,
}

/// How long what was killed may take to end.
const LIMIT: Duration = Duration::from_secs(10);

impl Original {
    /// What runs in it now.
    pub(super) async fn of(processes: &Arc<Processes>) -> io::Result<Self> {
        let processes = Arc::clone(processes);
        let members = blocking(move || processes.members()).await?;
        let known = members.iter().map(|member| {
            let process = &member.process;
            let known = Known {
                started: process.started,
                is_keeper: is_keeper(process),
            };
            (process.pid, known)
        });
        Ok(Self(known.collect()))
    }

    /// Kills all that is not of it, and waits until it has ended; says whether it has in time.
    pub(super) async fn restore(self: &Arc<Self>, processes: &Arc<Processes>) -> io::Result<bool> {
        let deadline = Instant::now() + LIMIT;
        // What is killed may have started something meanwhile.
        while Instant::now() < deadline {
            let (original, held) = (Arc::clone(self), Arc::clone(processes));
            let others = blocking(move || Ok::<_, io::Error>(original.others(held.inhabitants()?)));
            let others = others.await?;
            if others.is_empty() {
                return Ok(true);
            }
            for member in &others {
                member.pidfd.signal(Signal::KILL)?;
            }
            for member in &others {
                let ended = Ended::of(&member.pidfd)?;
                match timeout_at(deadline, ended.wait()).await {
                    Ok(ended) => ended?,
                    Err(_) => return Ok(false),
                }
            }
        }
        Ok(false)
    }

    /// Those of these that are neither of it, nor below its payload.
    fn others(&self, inhabitants: Vec<Member>) -> Vec<Member> {
        let by_pid: HashMap<Pid, Process> = inhabitants
            .iter()
            .map(|member| (member.process.pid, member.process.clone()))
            .collect();
        let mut others = inhabitants;
        others.retain(|member| {
            member.process.state != State::Zombie && !self.has(&member.process, &by_pid)
        });
        others
    }

    fn has(&self, process: &Process, all: &HashMap<Pid, Process>) -> bool {
        if self.known(process).is_some() {
            return true;
        }
        let mut above = all.get(&process.parent);
        // As many steps as there are processes: a table that is read in passing may have circles.
        for _ in 0..all.len() {
            let Some(parent) = above else {
                return false;
            };
            if let Some(known) = self.known(parent) {
                return !known.is_keeper;
            }
            above = all.get(&parent.parent);
        }
        false
    }

    fn known(&self, process: &Process) -> Option<&Known> {
        let known = self.0.get(&process.pid);
        known.filter(|known| known.started == process.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: Pid, parent: Pid, started: u64) -> Process {
        let this = nix::unistd::getpid().as_raw();
        let mut process = Process::read(this).unwrap().unwrap();
        (process.pid, process.parent, process.started) = (pid, parent, started);
        process
    }

    #[test]
    fn what_the_payload_has_started_is_of_it_and_what_a_command_has_is_not() {
        let known = |started, is_keeper| Known { started, is_keeper };
        let known = [
            (1, known(1, true)),
            (2, known(2, true)),
            (3, known(3, false)),
        ];
        let original = Original(known.into());
        let payload = [
            process(1, 0, 1),
            process(2, 1, 2),
            process(3, 2, 3),
            process(4, 3, 4),
            process(5, 4, 5),
        ];
        let others = [
            process(6, 2, 6),
            process(7, 6, 7),
            // Detached from a command.
            process(8, 1, 8),
            // By `apptainer exec`.
            process(9, 1000, 9),
        ];
        let all = payload.iter().chain(&others);
        let all: HashMap<_, _> = all.map(|one| (one.pid, one.clone())).collect();
        assert!(payload.iter().all(|process| original.has(process, &all)));
        assert!(!others.iter().any(|process| original.has(process, &all)));
        // One of its pids that has passed to another.
        assert!(!original.has(&process(3, 2, 10), &all));
    }
}
