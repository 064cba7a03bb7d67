//! Halting an instance, and having it go on.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apptainer_sys::cgroup::{Cgroup, CgroupError, Mechanism as Freezer, Version};
use apptainer_sys::process::{Member, Pid, Signal, State};

use super::limits::{LimitError, Mechanism};
use super::processes::Processes;
use super::{Instance, InstanceError};
use crate::blocking::blocking;

/// How long a group may take to be frozen.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was halted, and is to go on.
#[derive(Debug)]
pub(super) enum Halted {
    /// All of a group.
    Group(Cgroup),
    /// Processes, parents before their children; not those that stood still before.
    Members(Vec<Member>),
}

impl Halted {
    /// By the group's freezer, if it has one, and else by signals. Blocks until all stands
    /// still; after a failure all goes on.
    pub(super) fn halt(
        group: Option<&Cgroup>,
        processes: &Processes,
    ) -> Result<(Self, Mechanism), LimitError> {
        if let Some(group) = group {
            match group.freeze(PATIENCE) {
                Ok(freezer) => {
                    let version = match freezer {
                        Freezer::FreezerV1 => Version::V1,
                        _ => Version::V2,
                    };
                    return Ok((Self::Group(group.clone()), Mechanism::Cgroup(version)));
                }
                Err(CgroupError::NoMechanism { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let halted = halt_members(processes).map_err(LimitError::processes("pause"))?;
        Ok((Self::Members(halted), Mechanism::Signals))
    }

    /// Lets it go on.
    pub(super) fn resume(&self) -> Result<(), LimitError> {
        match self {
            Self::Group(group) => {
                group.thaw()?;
                Ok(())
            }
            Self::Members(members) => carry_on(members).map_err(LimitError::processes("resume")),
        }
    }
}

/// Halts what it finds and looks again until nothing new is there.
fn halt_members(processes: &Processes) -> io::Result<Vec<Member>> {
    // As in the search of all that a process started: more only for what forks faster than
    // the table is read.
    const ROUNDS: usize = 64;
    let mut known: HashSet<(Pid, u64)> = HashSet::new();
    let mut halted = Vec::new();
    for _ in 0..ROUNDS {
        let mut is_new = false;
        for member in processes.members_to_halt()? {
            if !known.insert((member.process.pid, member.process.started)) {
                continue;
            }
            is_new = true;
            if member.process.state == State::Stopped {
                continue;
            }
            if let Err(error) = member.pidfd.signal(Signal::STOP) {
                let _ = carry_on(&halted);
                return Err(error);
            }
            halted.push(member);
        }
        if !is_new {
            break;
        }
    }
    Ok(halted)
}

/// Children first: a parent that looks after its own finds them as it left them.
fn carry_on(members: &[Member]) -> io::Result<()> {
    let mut result = Ok(());
    for member in members.iter().rev() {
        result = result.and(member.pidfd.signal(Signal::CONT));
    }
    result
}

/// Who wants an instance to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Its user.
    User,
    /// What turns its logs over, for a moment.
    Logs,
}

/// What of an instance stands still, for as long as anybody wants it to.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Standstill>);

#[derive(Debug, Default)]
struct Standstill {
    halted: Option<(Halted, Mechanism)>,
    wanted_by: Vec<Who>,
}

impl Pause {
    /// Halts it, if it does not stand still already.
    pub(super) fn halt(
        &self,
        who: Who,
        group: Option<&Cgroup>,
        processes: &Processes,
    ) -> Result<Mechanism, LimitError> {
        let mut standstill = self.lock();
        let mechanism = if let Some((_, mechanism)) = standstill.halted {
            mechanism
        } else {
            let (what, mechanism) = Halted::halt(group, processes)?;
            standstill.halted = Some((what, mechanism));
            mechanism
        };
        standstill.wanted_by.push(who);
        Ok(mechanism)
    }

    /// Lets it go on, unless somebody else wants it to stand still. Waits for whoever is halting
    /// it.
    pub(super) fn resume(&self, who: Who) -> Result<(), LimitError> {
        let mut standstill = self.lock();
        standstill.wanted_by.retain(|other| *other != who);
        if !standstill.wanted_by.is_empty() {
            return Ok(());
        }
        if let Some((halted, _)) = &standstill.halted {
            halted.resume()?;
        }
        standstill.halted = None;
        Ok(())
    }

    /// The same, and what another has paused, who is gone. What stands still on its own then
    /// goes on too.
    pub(super) fn resume_all(
        &self,
        group: Option<&Cgroup>,
        processes: &Processes,
    ) -> Result<(), LimitError> {
        let mut standstill = self.lock();
        match (&standstill.halted, group) {
            (Some((halted, _)), _) => halted.resume()?,
            (None, Some(group)) if group.is_frozen().unwrap_or(false) => {
                group.thaw()?;
            }
            (None, _) => {
                let failed = LimitError::processes("resume");
                let mut members = processes.members_to_halt().map_err(failed)?;
                members.retain(|member| member.process.state == State::Stopped);
                carry_on(&members).map_err(failed)?;
            }
        }
        *standstill = Standstill::default();
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Standstill> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    /// Halts all that runs in it, and says by what: the freezer of the cgroup that Apptainer
    /// made for it, if it did, and else signals, which the processes cannot refuse, but which
    /// those who watch them see.
    ///
    /// Commands in it do not answer until it is [resumed](Self::resume). It can be stopped and
    /// dropped as ever. Paused already, it stays so.
    ///
    /// Dropping the future does not keep it from being paused.
    pub async fn pause(&self) -> Result<Mechanism, InstanceError> {
        let group = self.own_group().await?;
        let processes = self.processes().clone();
        let pause = Arc::clone(self.paused());
        let paused = blocking(move || pause.halt(Who::User, group.as_ref(), &processes)).await;
        paused.map_err(|source| self.limit_error("pause", source))
    }

    /// Lets it go on after a [pause](Self::pause). That it does already is no error.
    pub async fn resume(&self) -> Result<(), InstanceError> {
        let pause = Arc::clone(self.paused());
        let resumed = blocking(move || pause.resume(Who::User)).await;
        resumed.map_err(|source| self.limit_error("resume", source))
    }
}
