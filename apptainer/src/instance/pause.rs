//! Halting an instance, and having it go on.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apptainer_sys::cgroup::{Cgroup, CgroupError, Mechanism as Freezer, Version};
use apptainer_sys::process::{Member, Pid, Process, Signal, State};

use super::limits::{LimitError, Mechanism};
use super::processes::Processes;
use super::{Instance, InstanceError};
use crate::blocking::blocking;

/// How long all may take to stand still.
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

    /// Whether nothing of it has gone on, as far as that can be seen.
    fn stands_still(&self) -> bool {
        match self {
            Self::Group(group) => group.is_frozen().unwrap_or(true),
            Self::Members(members) => members.iter().all(is_still),
        }
    }
}

/// Halts what it finds, and looks again until nothing new is there and all stands still; after a
/// failure all goes on. What is in the midst of a system call halts only when that is done.
fn halt_members(processes: &Processes) -> io::Result<Vec<Member>> {
    let mut halted = Vec::new();
    let done = halt_all(processes, &mut halted);
    if done.is_err() {
        let _ = carry_on(&halted);
    }
    done.map(|()| halted)
}

fn halt_all(processes: &Processes, halted: &mut Vec<Member>) -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(1);
    /// After which what does not halt may wait for another.
    const MOMENT: Duration = Duration::from_millis(20);
    let started = Instant::now();
    let mut known: HashSet<(Pid, u64)> = HashSet::new();
    loop {
        let mut is_done = true;
        for member in processes.members_to_halt()? {
            if !known.insert((member.process.pid, member.process.started)) {
                continue;
            }
            is_done = false;
            if member.process.state != State::Stopped {
                member.pidfd.signal(Signal::STOP)?;
                halted.push(member);
            }
        }
        let moving = halted.iter().filter(|member| !is_still(member));
        let moving: HashSet<Pid> = moving.map(|member| member.process.pid).collect();
        if is_done && moving.is_empty() {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // What has called vfork(2) cannot halt before its child, halted as well, has called
        // execve(2).
        let held_up = halted
            .iter()
            .filter(|member| moving.contains(&member.process.parent) && started.elapsed() > MOMENT);
        let held_up: Vec<_> = held_up.collect();
        for child in &held_up {
            child.pidfd.signal(Signal::CONT)?;
        }
        std::thread::sleep(PAUSE);
        for child in held_up {
            child.pidfd.signal(Signal::STOP)?;
        }
    }
}

/// Whether all threads of a process are halted, or have ended.
fn is_still(member: &Member) -> bool {
    let has_ended = || member.pidfd.has_ended().unwrap_or(false);
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", member.process.pid)) else {
        return has_ended();
    };
    let mut ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    let is_still = |thread: Pid| match Process::read(thread) {
        Ok(Some(thread)) => matches!(thread.state, State::Stopped | State::Zombie),
        Ok(None) => true,
        Err(_) => false,
    };
    ids.all(is_still) || has_ended()
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

impl Standstill {
    /// What went on in part does not stand still any more.
    fn let_go(&mut self) -> Result<(), LimitError> {
        let Some((halted, mechanism)) = self.halted.take() else {
            return Ok(());
        };
        let resumed = halted.resume();
        if resumed.is_err() && halted.stands_still() {
            self.halted = Some((halted, mechanism));
        }
        resumed
    }
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
        standstill.let_go()
    }

    /// The same without waiting, by a thread of its own where somebody is halting it.
    pub(super) fn resume_unawaited(self: Arc<Self>, who: Who) -> Result<(), LimitError> {
        if self.0.try_lock().is_ok() {
            return self.resume(who);
        }
        let resume = move || {
            if let Err(error) = self.resume(who) {
                tracing::warn!(%error, "cannot resume a dropped instance");
            }
        };
        let thread = std::thread::Builder::new().name("apptainer-dropper".into());
        let started = thread.spawn(resume);
        started.map(drop).map_err(LimitError::processes("resume"))
    }

    /// The same, and what another has paused, who is gone. What stands still on its own then
    /// goes on too.
    pub(super) fn resume_all(
        &self,
        group: Option<&Cgroup>,
        processes: &Processes,
    ) -> Result<(), LimitError> {
        let mut standstill = self.lock();
        match group {
            _ if standstill.halted.is_some() => standstill.let_go()?,
            Some(group) if group.is_frozen().unwrap_or(false) => {
                group.thaw()?;
            }
            _ => {
                let failed = LimitError::processes("resume");
                let mut members = processes.members_to_halt().map_err(failed)?;
                members.retain(|member| member.process.state == State::Stopped);
                carry_on(&members).map_err(failed)?;
            }
        }
        *standstill = Standstill::default();
        Ok(())
    }

    fn has_halted(&self) -> bool {
        self.lock().halted.is_some()
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

    /// Lets it go on after a [pause](Self::pause), another handle's too. That it does already is
    /// no error. Where nothing was paused by this handle, what stands still on its own goes on
    /// as well.
    pub async fn resume(&self) -> Result<(), InstanceError> {
        let pause = Arc::clone(self.paused());
        let processes = self.processes().clone();
        // What is held here goes on whatever becomes of the record.
        let group = self.own_group().await;
        let resumed = blocking(move || {
            if pause.has_halted() {
                return Ok(pause.resume(Who::User));
            }
            group.map(|group| pause.resume_all(group.as_ref(), &processes))
        });
        let resumed = resumed.await?;
        resumed.map_err(|source| self.limit_error("resume", source))
    }
}
