//! What there is to watch of an instance.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Member, Signal};
use apptainer_sys::state::instance::Records;

use super::Supervisor;
use super::journal::{Entry, Journal};
use super::remnant::Remnant;
use super::room::Room;
use crate::Apptainer;
use crate::container::Settings;
use crate::exec::{Child, Link, Place, Slot};
use crate::instance::limits::Enclosure;
use crate::instance::list::Found;
use crate::instance::lock::try_lock;
use crate::instance::ports::Reservations;
use crate::instance::processes::Processes;
use crate::instance::remains::{Naming, Remains};
use crate::instance::running::GRACE;
use crate::instance::{Health, InstanceError, LogSettings};
use crate::process::Ended;

/// An instance that runs.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) records: Records,
    /// How long the log of its standard error was before it.
    pub(super) log_length: u64,
    /// How much earlier ones of its name had written.
    pub(super) log_starts: [u64; 2],
    /// How it is told to end, and how long it may take to obey.
    pub(super) stop_signal: Signal,
    pub(super) grace: Duration,
    pub(super) processes: Arc<Processes>,
    /// What serves its file system.
    pub(super) servers: Vec<Member>,
    pub(super) slot: Arc<Slot>,
    pub(super) ports: Vec<(String, u16)>,
    /// Its ports, for as long as it lives.
    pub(super) _reservations: Option<Reservations>,
    pub(super) enclosure: Enclosure,
    pub(super) health: Option<Health>,
    pub(super) logs: LogSettings,
    /// The folder of its temporary layer, if it has one.
    pub(super) layer: Option<PathBuf>,
    pub(super) is_paused: bool,
    pub(super) remnant: Remnant,
    pub(super) kind: Kind,
}

/// Who started an instance.
#[derive(Debug)]
pub(super) enum Kind {
    /// We, with an agent.
    Own {
        agent: Option<Ended>,
        payload: Option<Box<Child>>,
        ends_with_payload: bool,
        /// Where it is noted, and how, for as long as that may change.
        note: Option<Box<(Arc<Journal>, Entry)>>,
    },
    /// Somebody else.
    Foreign,
}

/// An instance of ours that runs, and what there is to reach it by.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) processes: Processes,
    pub(super) servers: Vec<Member>,
    pub(super) link: Link,
    pub(super) payload: Option<Child>,
    pub(super) enclosure: Enclosure,
    pub(super) reservations: Option<Reservations>,
    pub(super) health: Option<Health>,
}

impl Watched {
    /// One of ours.
    pub(super) fn own(
        supervisor: &Supervisor,
        entry: Entry,
        records: Records,
        settings: Settings,
        up: Up,
        remnant: Remnant,
    ) -> io::Result<Self> {
        let name = entry.name.clone();
        let layer = entry.spec.temporary_overlay;
        let layer = layer.then(|| Room::at(entry.room.clone()).overlay());
        let agent = up.link.ended()?;
        let place = place(supervisor.client(), &name, settings);
        let defaults = entry.spec.command_defaults(up.enclosure.rlimits());
        Ok(Self {
            name,
            records,
            log_length: entry.log_length,
            log_starts: entry.log_starts,
            stop_signal: entry.spec.signal_to_stop(),
            grace: entry.spec.time_to_stop(),
            ports: entry.ports.clone(),
            _reservations: up.reservations,
            enclosure: up.enclosure,
            health: up.health,
            logs: entry.spec.logs.clone(),
            layer,
            is_paused: entry.is_paused,
            processes: Arc::new(up.processes),
            servers: up.servers,
            slot: Arc::new(Slot::linked(place, up.link, defaults)),
            remnant,
            kind: Kind::Own {
                agent,
                payload: up.payload.map(Box::new),
                ends_with_payload: entry.spec.ends_with_payload(),
                note: Some(Box::new((Arc::clone(supervisor.journal()), entry))),
            },
        })
    }

    /// One that somebody else started.
    pub(super) fn foreign(client: &Apptainer, name: &str, found: Found) -> io::Result<Self> {
        let servers = found.processes.servers()?;
        let remains = Remains::new(found.records.clone(), name, Naming::Given);
        Ok(Self {
            name: name.to_owned(),
            records: found.records,
            log_length: 0,
            log_starts: [0; 2],
            stop_signal: Signal::TERM,
            grace: GRACE,
            processes: Arc::new(found.processes),
            servers,
            slot: Arc::new(Slot::new(place(client, name, found.settings))),
            ports: Vec::new(),
            _reservations: None,
            enclosure: Enclosure::nothing(),
            health: None,
            logs: LogSettings::default(),
            layer: None,
            is_paused: false,
            remnant: Remnant::new(name, client, None, remains, None),
            kind: Kind::Foreign,
        })
    }
}

fn place(client: &Apptainer, name: &str, settings: Settings) -> Place {
    Place {
        client: client.clone(),
        image: format!("instance://{name}").into(),
        settings,
        uses: None,
    }
}

impl Supervisor {
    /// Watches an instance of this user's that somebody else started, as `apptainer instance
    /// start` does.
    ///
    /// It is not noted, and goes on when this supervisor ends. How its payload ends is known where
    /// the kernel tells, from Linux 6.15 on.
    pub async fn adopt(&self, name: impl AsRef<str>) -> Result<super::Service, InstanceError> {
        let name = name.as_ref();
        if let Some(service) = self.service(name) {
            return Ok(service);
        }
        // Nobody else comes to watch it meanwhile: neither who starts it nor who adopts it too.
        let lock = try_lock(self.client().config_dir(), name);
        let lock = lock.map_err(|source| InstanceError::watching(name, source))?;
        let _lock = lock.ok_or_else(|| {
            let reason = "somebody starts it, or begins to watch it, at this moment";
            InstanceError::watching(name, io::Error::new(io::ErrorKind::WouldBlock, reason))
        })?;
        if let Some(service) = self.service(name) {
            return Ok(service);
        }
        let found = crate::instance::list::found(self.client(), name).await?;
        let watched = Watched::foreign(self.client(), name, found);
        let watch = watched.and_then(super::watch::Watch::new);
        let watch = watch.map_err(|source| InstanceError::watching(name, source))?;
        Ok(watch.begin(self))
    }
}
