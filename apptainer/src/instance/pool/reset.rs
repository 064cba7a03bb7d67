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

/// What runs in it now.
#[derive(Debug, Clone, Copy)]
struct Seen {
    parent: Pid,
    started: u64,
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
        let all = inhabitants.iter().map(|member| {
            let Process {
                pid,
                parent,
                started,
                ..
            } = member.process;
            (pid, Seen { parent, started })
        });
        let all: HashMap<Pid, Seen> = all.collect();
        let mut others = inhabitants;
        others.retain(|member| {
            member.process.state != State::Zombie && !self.has(member.process.pid, &all)
        });
        others
    }

    fn has(&self, pid: Pid, all: &HashMap<Pid, Seen>) -> bool {
        if self.known(pid, all).is_some() {
            return true;
        }
        let parent = |pid| all.get(&pid).map(|seen: &Seen| seen.parent);
        let mut above = parent(pid);
        // As many steps as there are processes: a table that is read in passing may have circles.
        for _ in 0..all.len() {
            let Some(pid) = above else {
                return false;
            };
            if let Some(known) = self.known(pid, all) {
                return !known.is_keeper;
            }
            above = parent(pid);
        }
        false
    }

    fn known(&self, pid: Pid, all: &HashMap<Pid, Seen>) -> Option<&Known> {
        let started = all.get(&pid)?.started;
        self.0.get(&pid).filter(|known| known.started == started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_payload_has_started_is_of_it_and_what_a_command_has_is_not() {
        let known = |started, is_keeper| Known { started, is_keeper };
        let known = [
            (1, known(1, true)),
            (2, known(2, true)),
            (3, known(3, false)),
        ];
        let original = Original(known.into());
        let payload = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)];
        // A command and what it has started, what was detached from one, an `apptainer exec`.
        let others = [(6, 2), (7, 6), (8, 1), (9, 1000)];
        let all = payload.iter().chain(&others).map(|(pid, parent)| {
            let started = u64::try_from(*pid).unwrap();
            let parent = *parent;
            (*pid, Seen { parent, started })
        });
        let mut all: HashMap<_, _> = all.collect();
        assert!(payload.iter().all(|(pid, _)| original.has(*pid, &all)));
        assert!(!others.iter().any(|(pid, _)| original.has(*pid, &all)));
        // Its pid has passed to another.
        let parent = 2;
        let started = 10;
        all.insert(3, Seen { parent, started });
        assert!(!original.has(3, &all));
        assert!(!original.has(5, &all));
    }
}
