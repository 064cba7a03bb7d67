//! What is around an instance to hold it to its limits.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use apptainer_sys::cgroup::{self, Cgroup, CpuList};
use apptainer_sys::process::{Member, Placement};

use super::groups::{Groups, Site};
use super::kills::Kills;
use super::mechanism::Available;
use super::record::{Before, EnclosureRecord, Known};
use super::watchdog::{Exceeded, Watchdog, Watched};
use super::{LimitError, Limits, Mechanism, Mechanisms, affinity, threads};
use crate::blocking::blocking;
use crate::exec::Resource;
use crate::instance::pause::{Pause, Who};
use crate::instance::processes::Processes;
use crate::instance::stats::Stats;

/// What is around an instance to hold it to its limits, to pause it and to count what it uses.
///
/// [Prepared](Self::prepare) before the start, it is given the [processes](Self::adopt) when
/// Apptainer has started them and the payload does not run yet, [watches](Self::watch)
/// while it does, and is [removed](Self::remove) when all is over.
#[derive(Debug)]
pub(in crate::instance) struct Enclosure {
    limits: Limits,
    mechanisms: Mechanisms,
    groups: Option<Groups>,
    /// Those to run on, where affinity keeps that.
    cpus: Option<CpuList>,
    before: Before,
    kills: Option<Kills>,
    watchdog: Option<Watchdog>,
    paused: Arc<Pause>,
}

/// What happens around an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::instance) enum EnclosureEvent {
    /// The kernel killed so many processes of it for want of memory.
    OutOfMemory { kills: u64 },
    /// The watchdog killed all that the instance ran.
    Exceeded(Exceeded),
}

/// What would keep each limit.
pub(super) fn probe() -> Result<Mechanisms, LimitError> {
    let all = Limits::new().cpuset_cpus("0");
    let site = Site::choose("probe")?;
    let groups = site.map(|site| site.make(&all.controllers()));
    let groups = groups.transpose()?.flatten();
    let available = Available::of(groups.as_ref().map(|groups| &groups.payload));
    let removed = groups.map_or(Ok(()), |groups| groups.remove());
    let mechanisms = available?.mechanisms();
    removed?;
    Ok(mechanisms)
}

impl Enclosure {
    /// Makes what can be made before the start, with the limits set. Fails for a limit that
    /// nothing keeps here, and leaves nothing then.
    pub(in crate::instance) fn prepare(
        limits: &Limits,
        site: Option<&Site>,
    ) -> Result<Self, LimitError> {
        if let Some((field, problem)) = limits.findings().into_iter().next() {
            return Err(LimitError::Invalid { field, problem });
        }
        let groups = site.map(|site| site.make(&limits.controllers()));
        Self::within(groups.transpose()?.flatten(), limits)
    }

    /// The same in these groups, or without any.
    pub(super) fn within(groups: Option<Groups>, limits: &Limits) -> Result<Self, LimitError> {
        match Self::limited(limits, groups.as_ref()) {
            Ok((mechanisms, cpus)) => Ok(Self {
                cpus,
                ..Self::new(limits.clone(), mechanisms, groups, Before::default())
            }),
            Err(error) => {
                if let Some(groups) = groups {
                    let _ = groups.remove();
                }
                Err(error)
            }
        }
    }

    fn limited(
        limits: &Limits,
        groups: Option<&Groups>,
    ) -> Result<(Mechanisms, Option<CpuList>), LimitError> {
        let payload = groups.map(|groups| &groups.payload);
        let mechanisms = Available::of(payload)?.keeping(limits)?;
        if let Some(payload) = payload {
            payload.limit(&limits.for_group(&mechanisms)?)?;
        }
        let (cpus, cpuset) = uses_affinity(&mechanisms);
        let cpus = affinity::choose(limits, cpus, cpuset)?;
        Ok((mechanisms, cpus))
    }

    fn new(limits: Limits, mechanisms: Mechanisms, groups: Option<Groups>, before: Before) -> Self {
        Self {
            limits,
            mechanisms,
            groups,
            cpus: None,
            before,
            kills: None,
            watchdog: None,
            paused: Arc::default(),
        }
    }

    /// That of an instance without limits that somebody else started.
    pub(in crate::instance) fn nothing() -> Self {
        let mechanisms = Available::default().mechanisms();
        Self::new(Limits::default(), mechanisms, None, Before::default())
    }

    /// By what the instance is halted, and what knows who wants that.
    pub(in crate::instance) fn halted_by(&self) -> (Option<Cgroup>, Arc<Pause>) {
        (self.payload().cloned(), Arc::clone(&self.paused))
    }

    /// Where `apptainer instance start` is to begin.
    pub(in crate::instance) fn placement(&self) -> Result<Option<Placement>, LimitError> {
        let groups = self.groups.as_ref();
        let placement = groups.map(|groups| groups.programs.placement());
        Ok(placement.transpose()?)
    }

    /// Takes in what Apptainer has started, wherever it has put it, to be [watched](Self::watch)
    /// then. The payload must not run yet: what it has started by then may not be limited.
    /// Reads the table of processes.
    pub(in crate::instance) fn adopt(&mut self, processes: &Processes) -> Result<(), LimitError> {
        let members = self.take_in(processes)?;
        self.count_before(processes, &members)
            .map_err(LimitError::processes("look at"))?;
        if let (Some(payload), Some(most), Some(Mechanism::Cgroup(_))) =
            (self.payload(), self.limits.pids, self.mechanisms.pids)
        {
            let most = most.saturating_add(self.before.threads);
            payload.limit(&cgroup::Limits::new().pids(most))?;
        }
        if let Some(cpus) = &self.cpus {
            affinity::set(cpus, &members).map_err(LimitError::processes("choose the CPUs of"))?;
        }
        Ok(())
    }

    /// Moves what is in the container to the group for it. Where that is refused, and no limit
    /// hangs on it, the group is not used.
    fn take_in(&mut self, processes: &Processes) -> Result<Vec<Member>, LimitError> {
        let moved = match self.payload() {
            Some(payload) => move_all(payload, processes),
            None => return members(processes),
        };
        match moved {
            Err(error @ LimitError::Cgroup(_)) if !self.mechanisms.limit_by_group() => {
                tracing::warn!(%error, "doing without a cgroup");
                self.mechanisms.pause = Mechanism::Signals;
                self.mechanisms.stats = Mechanism::Processes;
                members(processes)
            }
            moved => moved,
        }
    }

    /// The group around what is in the container, if it is used.
    fn payload(&self) -> Option<&Cgroup> {
        let Mechanisms { pause, stats, .. } = self.mechanisms;
        let is_used = pause != Mechanism::Signals || stats != Mechanism::Processes;
        let groups = self.groups.as_ref().filter(|_| is_used);
        groups.map(|groups| &groups.payload)
    }

    fn count_before(&mut self, processes: &Processes, members: &[Member]) -> io::Result<()> {
        self.before = Before::default();
        for member in members {
            self.before.processes.push(Known::of(&member.process));
            self.before.threads += threads::of(member.process.pid)?;
        }
        if self.mechanisms.pids == Some(Mechanism::ResourceLimit) {
            self.before.counted = threads::in_namespace_of(processes.payload_pid())?;
            if self.before.counted.is_none() {
                self.mechanisms.pids = Some(Mechanism::Watchdog);
            }
        }
        Ok(())
    }

    /// Begins to watch what was [adopted](Self::adopt), now or before it was
    /// [recovered](Self::recover). Needs a runtime.
    pub(in crate::instance) fn watch(&mut self, processes: &Processes) -> Result<(), LimitError> {
        if let Some(payload) = self.payload() {
            self.kills = Some(Kills::of(payload)?);
        }
        let by_watchdog = |kept: Option<Mechanism>, most: Option<u64>| {
            most.filter(|_| kept == Some(Mechanism::Watchdog))
        };
        let memory = by_watchdog(self.mechanisms.memory, self.limits.memory);
        let threads = by_watchdog(self.mechanisms.pids, self.limits.pids);
        if memory.is_some() || threads.is_some() {
            self.watchdog = Some(Watchdog::start(Watched {
                processes: Arc::new(processes.clone()),
                before: self.before.processes.iter().copied().collect(),
                memory,
                threads,
            }));
        }
        Ok(())
    }

    /// The limits of each process, soft and hard, for the payload and the
    /// commands in the instance. Known once the
    /// instance was [adopted](Self::adopt).
    pub(in crate::instance) fn rlimits(&self) -> Vec<(Resource, u64, u64)> {
        let mut limits = self.limits.resources.clone();
        if let (Some(pids), Some(before)) = (self.limits.pids, self.before.counted) {
            let most = pids.saturating_add(before);
            let lower = |set: &mut u64| *set = most.min(*set);
            limits
                .entry(Resource::Processes)
                .and_modify(lower)
                .or_insert(most);
        }
        let both = |(resource, most)| (resource, most, most);
        limits.into_iter().map(both).collect()
    }

    /// The CPUs to run on, where affinity keeps that.
    #[cfg(test)]
    pub(super) fn cpus(&self) -> Option<&CpuList> {
        self.cpus.as_ref()
    }

    /// What keeps each limit.
    pub(in crate::instance) fn mechanisms(&self) -> &Mechanisms {
        &self.mechanisms
    }

    /// What happens next. Waits for ever where nothing tells. Cancel safe.
    pub(in crate::instance) async fn next_event(&mut self) -> EnclosureEvent {
        let Self {
            kills, watchdog, ..
        } = self;
        let killed = async {
            match kills {
                Some(kills) => kills.next().await,
                None => std::future::pending().await,
            }
        };
        let exceeded = async {
            match watchdog {
                Some(watchdog) => watchdog.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            kills = killed => EnclosureEvent::OutOfMemory { kills },
            exceeded = exceeded => EnclosureEvent::Exceeded(exceeded),
        }
    }

    /// What the instance uses: all that is in its cgroup, or else all that is in the container,
    /// what has joined it too.
    pub(in crate::instance) async fn stats(
        &self,
        processes: &Processes,
    ) -> Result<Stats, LimitError> {
        let by_group = self.mechanisms.stats != Mechanism::Processes;
        let group = self.payload().filter(|_| by_group).cloned();
        let processes = processes.clone();
        let mut stats = blocking(move || Stats::of(group.as_ref(), &processes)).await?;
        stats.memory.limit = stats.memory.limit.or(self.limits.memory);
        let most = self.limits.pids;
        let most = most.map(|most| most.saturating_add(self.before.threads));
        stats.pids.limit = stats.pids.limit.or(most);
        Ok(stats)
    }

    /// Halts all that runs in the container, and says how. What Apptainer runs outside of it
    /// goes on. It must be [resumed](Self::resume) before it is told to end; version 1's
    /// freezer keeps it even from being killed other than by [`kill`](Self::kill).
    /// Dropping the future does not keep it from being halted.
    pub(in crate::instance) async fn pause(
        &self,
        processes: &Processes,
    ) -> Result<Mechanism, LimitError> {
        let group = self.payload().cloned();
        let processes = processes.clone();
        let paused = Arc::clone(&self.paused);
        blocking(move || paused.halt(Who::User, group.as_ref(), &processes)).await
    }

    /// Lets it go on, as soon as nobody else wants it to stand still; that it does already is no
    /// error.
    pub(in crate::instance) async fn resume(&self) -> Result<(), LimitError> {
        let paused = Arc::clone(&self.paused);
        blocking(move || paused.resume(Who::User)).await
    }

    /// Lets go on what somebody else has paused, who is gone.
    pub(in crate::instance) async fn resume_all(
        &self,
        processes: &Processes,
    ) -> Result<(), LimitError> {
        let group = self.payload().cloned();
        let processes = processes.clone();
        let paused = Arc::clone(&self.paused);
        blocking(move || paused.resume_all(group.as_ref(), &processes)).await
    }

    /// It, as data: complete once the instance was [adopted](Self::adopt).
    pub(in crate::instance) fn record(&self) -> EnclosureRecord {
        EnclosureRecord {
            limits: self.limits.clone(),
            mechanisms: self.mechanisms.clone(),
            groups: self.groups.clone(),
            before: self.before.clone(),
        }
    }

    /// What somebody left around an instance; `None` when it is gone. To be
    /// [watched](Self::watch) then.
    pub(in crate::instance) fn recover(record: EnclosureRecord) -> Option<Self> {
        let groups = record.groups;
        if groups.as_ref().is_some_and(|groups| !groups.are_there()) {
            return None;
        }
        Some(Self::new(
            record.limits,
            record.mechanisms,
            groups,
            record.before,
        ))
    }
}

/// Whether CPUs, and a set of them, are kept by affinity.
fn uses_affinity(mechanisms: &Mechanisms) -> (bool, bool) {
    let by_affinity = |kept| kept == Some(Mechanism::Affinity);
    (
        by_affinity(mechanisms.cpus),
        by_affinity(mechanisms.cpuset_cpus),
    )
}

fn members(processes: &Processes) -> Result<Vec<Member>, LimitError> {
    let members = processes.members();
    members.map_err(LimitError::processes("find"))
}

/// Moves all that is in the container to a group, wherever it was, and looks again until
/// nothing else is there.
fn move_all(group: &Cgroup, processes: &Processes) -> Result<Vec<Member>, LimitError> {
    const ROUNDS: usize = 64;
    let mut moved = HashSet::new();
    for _ in 0..ROUNDS {
        let members = members(processes)?;
        let mut is_new = false;
        for member in &members {
            if moved.insert(Known::of(&member.process)) {
                is_new = true;
                add(group, member)?;
            }
        }
        if !is_new {
            return Ok(members);
        }
    }
    Err(LimitError::processes("catch")(
        io::ErrorKind::ResourceBusy.into(),
    ))
}

fn add(group: &Cgroup, member: &Member) -> Result<(), LimitError> {
    let has_ended = || member.pidfd.has_ended();
    if has_ended().map_err(LimitError::processes("look at"))? {
        return Ok(());
    }
    match group.add(member.process.pid) {
        // In the meantime.
        Err(_) if has_ended().is_ok_and(|has_ended| has_ended) => Ok(()),
        added => Ok(added?),
    }
}
