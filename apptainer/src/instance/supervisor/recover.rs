//! What a supervisor that was killed has left: found again, or taken away.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Pid, PidFd, Process};

use super::journal::{self, Entry, Journal, boot};
use super::remnant::{Known, Remnant};
use super::room::Room;
use super::watch::Watch;
use super::watched::{Up, Watched};
use super::{Recovery, Supervisor};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::exec::{ExecError, Link, LinkError};
use crate::instance::InstanceError;
use crate::instance::limits::Enclosure;
use crate::instance::list::{found, records};
use crate::instance::ports::Reservations;
use crate::instance::remains::Remains;
use crate::process::Ended;

impl Apptainer {
    /// Ends all instances on this host whose supervisors have been killed, and removes what is
    /// left of them; gives their names. Those of supervisors that live are left alone.
    pub async fn reap(&self) -> Result<Vec<String>, InstanceError> {
        let client = self.clone();
        blocking(move || reap(&client)).await
    }
}

fn reap(client: &Apptainer) -> Result<Vec<String>, InstanceError> {
    let failed = |source| InstanceError::Supervisor {
        name: "*".to_owned(),
        source,
    };
    let folder = journal::folder(client.config_dir()).map_err(failed)?;
    let supervisors = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        supervisors => supervisors.map_err(failed)?,
    };
    let mut reaped = Vec::new();
    let mut result = Ok(());
    for supervisor in supervisors {
        let folder = supervisor.map_err(failed)?.path();
        let journal = match Journal::lock(folder) {
            // Whoever had it has left nothing there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            journal => journal.map_err(failed)?,
        };
        let Some(journal) = journal else {
            continue;
        };
        let journal = Arc::new(journal);
        for entry in journal.entries().map_err(failed)? {
            let name = entry.name.clone();
            let mut remnant = remnant(client, &journal, &entry)?;
            match remnant.clear(Known::Nothing) {
                Ok(true) => reaped.push(name),
                Ok(false) => result = Err(InstanceError::StillRunning { name }),
                Err(error) => result = Err(failed(error)),
            }
            remnant.leave();
        }
    }
    result.map(|()| reaped)
}

fn remnant(
    client: &Apptainer,
    journal: &Arc<Journal>,
    entry: &Entry,
) -> Result<Remnant, InstanceError> {
    let remains = Remains::new(records(client, &entry.name)?, &entry.name, entry.naming);
    let room = Room::at(entry.room.clone());
    let own = Some((journal, room));
    let mut remnant = Remnant::new(&entry.id, client, own, remains, None);
    remnant.is_enclosed_at(entry.site.clone());
    Ok(remnant)
}

/// A process that was noted by its pid and its start, held; `None` when it has ended.
fn held((pid, since): (Pid, u64)) -> io::Result<Option<PidFd>> {
    let pidfd = match PidFd::open(pid) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        opened => opened?,
    };
    // Once it is held: the pid may have passed to another.
    let process = Process::read(pid)?;
    Ok(process
        .is_some_and(|process| process.started == since)
        .then_some(pidfd))
}

impl Supervisor {
    /// Looks after what a supervisor of this name has left. What cannot be ended stays noted.
    pub(super) async fn recover(&self, recovery: Recovery) -> Result<(), InstanceError> {
        let failed = |source| InstanceError::Supervisor {
            name: "*".to_owned(),
            source,
        };
        let boot = boot().map_err(failed)?;
        for entry in self.journal().entries().map_err(failed)? {
            let name = entry.name.clone();
            let was_started = entry.started.is_some();
            // What is left is held only where it is decided on: dropped, it would be ended.
            let remnant = || remnant(self.client(), self.journal(), &entry);
            if recovery == Recovery::Reattach && entry.boot == boot {
                match self.reattach_soon(&entry).await {
                    Ok(Some(up)) => {
                        let remnant = remnant()?;
                        if let Err(error) = self.watch_again(entry, up, remnant) {
                            self.note_lost(&name);
                            tracing::warn!(%error, name, "an instance that was left cannot be watched again, and is ended");
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, name, "an instance that was left cannot be watched again, and is ended");
                    }
                }
            }
            if was_started {
                self.note_lost(&name);
            }
            let mut remnant = remnant()?;
            let (cleared, mut remnant) =
                blocking(move || (remnant.clear(Known::Nothing), remnant)).await;
            match cleared {
                Ok(true) => {}
                Ok(false) => tracing::warn!(name, "an instance that was left is still there"),
                Err(error) => tracing::warn!(%error, name, "cannot clear up what was left"),
            }
            remnant.leave();
        }
        Ok(())
    }

    /// The same as [`reattach`](Self::reattach), again where what keeps it from that may pass: it
    /// may not have been heard yet that its last caller is gone.
    async fn reattach_soon(&self, entry: &Entry) -> Result<Option<Up>, InstanceError> {
        const ATTEMPTS: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(100);
        let mut attempt = 1;
        loop {
            match self.reattach(entry).await {
                Err(error) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, name = entry.name, "an instance is not watched yet");
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                reattached => return reattached,
            }
        }
    }

    /// An instance that runs, and its agent; `None` where it does not, or was still being started.
    async fn reattach(&self, entry: &Entry) -> Result<Option<Up>, InstanceError> {
        let io_error = |source| InstanceError::Io {
            doing: "find",
            name: entry.name.clone(),
            source,
        };
        let Some(started) = &entry.started else {
            return Ok(None);
        };
        let processes = match found(self.client(), &entry.name).await {
            Ok(found) => found.processes,
            Err(InstanceError::NotRunning { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let agent = started.agent.map(held).transpose().map_err(io_error)?;
        let Some(agent) = agent.flatten() else {
            return Ok(None);
        };
        let is_theirs = started.agent.map(|(pid, _)| processes.has_first(pid));
        if is_theirs.transpose().map_err(io_error)?.flatten() != Some(true) {
            // Another has its name by now.
            return Ok(None);
        }
        let servers = processes.servers().map_err(io_error)?;
        let is_there = |noted: &(Pid, u64)| {
            let mut servers = servers.iter().map(|server| &server.process);
            servers.any(|process| (process.pid, process.started) == *noted)
        };
        if !started.servers.iter().all(is_there) {
            // Nothing tells of its end any more, and what is in it may not look at its files.
            return Ok(None);
        }
        let enclosure = entry.enclosure.clone().and_then(Enclosure::recover);
        let Some(mut enclosure) = enclosure else {
            return Ok(None);
        };
        let limit_error = |source| InstanceError::limit("watch", &entry.name, source);
        enclosure.watch(&processes).map_err(limit_error)?;
        // Whoever turned its logs over may have been killed while it stood still, and agents that
        // do so do not answer.
        enclosure
            .resume_all(&processes)
            .await
            .map_err(limit_error)?;
        let room = Room::at(entry.room.clone());
        // One that has ended keeps whoever calls it waiting: what serves the container's file
        // system has its socket, too.
        let ended = Ended::of(&agent).map_err(io_error)?;
        let socket = room.socket();
        let link = tokio::select! {
            link = Link::attach_resident(&socket) => link?,
            _ = ended.wait() => return Ok(None),
        };
        let payload = match started.payload {
            Some(number) => match link.reattach(number).await {
                // It has ended, which was told just before who was told was killed.
                Err(ExecError::Link(LinkError::NoSuchCommand { .. }))
                    if !entry.spec.ends_with_payload() =>
                {
                    None
                }
                reattached => Some(reattached?),
            },
            None => None,
        };
        if entry.is_paused {
            enclosure.pause(&processes).await.map_err(limit_error)?;
        }
        let reservations = Reservations::again(&entry.spec.ports, &entry.ports);
        Ok(Some(Up {
            processes,
            servers,
            link,
            payload,
            enclosure,
            reservations: Some(reservations),
            health: entry.spec.health.clone(),
        }))
    }

    fn watch_again(&self, entry: Entry, up: Up, remnant: Remnant) -> Result<(), InstanceError> {
        let name = entry.name.clone();
        let io_error = |source| InstanceError::watching(&name, source);
        let records = records(self.client(), &entry.name)?;
        let settings = entry.spec.settled(&entry.ports, None).for_joining();
        let watched = Watched::own(self, entry, records, settings, up, remnant);
        let watch = watched.and_then(Watch::new).map_err(io_error)?;
        watch.begin(self);
        Ok(())
    }
}
