//! What a supervisor that was killed has left: found again, or taken away.

use std::fs;
use std::io;

use apptainer_sys::process::Process;

use super::journal::{self, Entry, Journal, boot};
use super::remnant::{Known, Remnant};
use super::room::Room;
use super::watch::{Up, Watch};
use super::{Recovery, Supervisor};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::container::Settings;
use crate::exec::Link;
use crate::instance::InstanceError;
use crate::instance::list::{found, records};
use crate::instance::remains::Remains;

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
    for supervisor in supervisors {
        let folder = supervisor.map_err(failed)?.path();
        let Some(journal) = Journal::lock(folder).map_err(failed)? else {
            continue;
        };
        let journal = std::sync::Arc::new(journal);
        for entry in journal.entries().map_err(failed)? {
            let name = entry.name.clone();
            if !remnant(client, &journal, &entry)?
                .clear(Known::Nothing)
                .map_err(failed)?
            {
                return Err(InstanceError::StillRunning { name });
            }
            reaped.push(name);
        }
        if let Some(journal) = std::sync::Arc::into_inner(journal) {
            journal.remove_if_empty().map_err(failed)?;
        }
    }
    Ok(reaped)
}

fn remnant(
    client: &Apptainer,
    journal: &std::sync::Arc<Journal>,
    entry: &Entry,
) -> Result<Remnant, InstanceError> {
    let remains = Remains::new(records(client, &entry.name)?, &entry.name, entry.naming);
    let room = Room::at(entry.room.clone());
    let own = Some((journal, room));
    Ok(Remnant::new(&entry.id, client, own, remains, None))
}

impl Supervisor {
    /// Looks after what a supervisor of this name has left.
    pub(super) async fn recover(&self, recovery: Recovery) -> Result<(), InstanceError> {
        let failed = |source| InstanceError::Supervisor {
            name: "*".to_owned(),
            source,
        };
        let boot = boot().map_err(failed)?;
        for entry in self.journal().entries().map_err(failed)? {
            let mut remnant = remnant(self.client(), self.journal(), &entry)?;
            if recovery == Recovery::Reattach && entry.boot == boot {
                match self.reattach(&entry).await {
                    Ok(Some(found)) => {
                        self.watch_again(&entry, found, remnant)?;
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, name = entry.name, "an instance that was left cannot be watched again, and is ended");
                    }
                }
            }
            let name = entry.name.clone();
            let cleared = blocking(move || remnant.clear(Known::Nothing)).await;
            if !cleared.map_err(failed)? {
                return Err(InstanceError::StillRunning { name });
            }
        }
        Ok(())
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
            Ok((_, processes)) => processes,
            Err(InstanceError::NotRunning { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // One that has ended would keep whoever calls it waiting, for its socket is there.
        let agent = match started.agent {
            Some((pid, since)) => Process::read(pid)
                .map_err(io_error)?
                .filter(|process| process.started == since),
            None => None,
        };
        if agent.is_none() {
            return Ok(None);
        }
        let room = Room::at(entry.room.clone());
        let link = Link::attach_resident(&room.socket()).await?;
        let payload = match started.payload {
            Some(number) => Some(link.reattach(number).await?),
            None => None,
        };
        Ok(Some(Up {
            processes,
            link,
            payload,
        }))
    }

    fn watch_again(&self, entry: &Entry, found: Up, remnant: Remnant) -> Result<(), InstanceError> {
        let io_error = |source| InstanceError::Io {
            doing: "watch",
            name: entry.name.clone(),
            source,
        };
        let records = records(self.client(), &entry.name)?;
        let settings = Settings::default();
        let watched = self.watched(entry, records, settings, found, remnant);
        let watch = watched.and_then(Watch::new).map_err(io_error)?;
        watch.begin(self);
        Ok(())
    }
}
