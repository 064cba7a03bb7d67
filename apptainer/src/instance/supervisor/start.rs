//! Starting an instance that is supervised.

mod failure;

use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use apptainer_sys::command::instance::{Run, Start};
use apptainer_sys::command::{Access, GlobalOptions, Mount};
use apptainer_sys::process::{Session, Spawn, Stdio};
use apptainer_sys::state::instance::Records;
use tokio::time::Instant;

use self::failure::will_pass;
use super::Supervisor;
use super::agent_file::agent_file;
use super::journal::{Entry, Started, boot};
use super::plan::Plan;
use super::remnant::{Known, Remnant};
use super::room::Room;
use super::service::Service;
use super::watch::Watch;
use super::watched::{Up, Watched};
use crate::OverlayLayer;
use crate::blocking::blocking;
use crate::container::Settings;
use crate::exec::{Child, Link, Resident};
use crate::instance::limits::{Enclosure, Site};
use crate::instance::list::{records, running};
use crate::instance::lock::try_lock;
use crate::instance::ports::Reservations;
use crate::instance::processes::Processes;
use crate::instance::remains::Remains;
use crate::instance::seconds::later;
use crate::instance::start::length;
use crate::instance::{InstanceError, logs};
use crate::process::{OnDrop, Running, read_available};

/// How often an instance is started whose file system was not served in time.
const ATTEMPTS: u32 = 3;

/// An instance that is being started. Dropped, it is ended.
struct Starting<'a> {
    supervisor: &'a Supervisor,
    plan: &'a Plan,
    records: Records,
    entry: Entry,
    remnant: Remnant,
    room: Room,
    /// What shapes the container.
    settings: Settings,
    enclosure: Enclosure,
    reservations: Reservations,
    deadline: Instant,
}

impl Supervisor {
    /// Starts it, again where its file system was not served in time, as happens on machines with
    /// much to do.
    pub(super) async fn start_plan(&self, plan: &Plan) -> Result<Service, InstanceError> {
        let deadline = later(Instant::now(), plan.spec.time_to_start());
        let mut attempt = 1;
        loop {
            let result = Box::pin(self.try_start(plan, deadline)).await;
            match &result {
                Err(InstanceError::Apptainer { failure, .. })
                    if attempt < ATTEMPTS && will_pass(failure) =>
                {
                    tracing::warn!(name = plan.name, %failure, "an instance is started again");
                    attempt += 1;
                }
                _ => return result,
            }
        }
    }

    async fn try_start(&self, plan: &Plan, deadline: Instant) -> Result<Service, InstanceError> {
        let io_error = |source| InstanceError::starting(&plan.name, source);
        let client = self.client();
        let records = records(client, &plan.name)?;
        let id = format!("{:.200}-{:08x}", plan.name, unique());
        let folder = self.runtime().join(&id);
        let limit_error = |source| InstanceError::limit("start", &plan.name, source);
        let site = Site::choose(&id).map_err(limit_error)?;
        let entry = Entry {
            room: folder.clone(),
            id,
            name: plan.name.clone(),
            naming: plan.naming,
            boot: boot().map_err(io_error)?,
            spec: plan.spec.noted(),
            ports: Vec::new(),
            site: site.clone(),
            enclosure: None,
            is_paused: false,
            log_length: 0,
            log_starts: [0; 2],
            started: None,
        };
        let remains = Remains::new(records.clone(), &plan.name, plan.naming);
        let room = Room::at(folder);
        let image = Some(plan.image.clone());
        let own = Some((self.journal(), room.clone()));
        let mut remnant = Remnant::new(&entry.id, client, own, remains, image);
        // Whose the name is shows once it is locked.
        remnant.name_is_anothers(true);
        remnant.is_enclosed_at(site);
        let mut starting = Starting {
            supervisor: self,
            plan,
            records,
            settings: Settings::default(),
            entry,
            remnant,
            room,
            enclosure: Enclosure::nothing(),
            reservations: Reservations::default(),
            deadline,
        };
        match starting.start().await {
            Ok(up) => starting.finish(up).await,
            Err(error) => {
                starting.clear().await;
                Err(error)
            }
        }
    }
}

/// What is around an instance that is not started yet. Dropped, it is removed: whoever had it
/// made is gone then.
struct Prepared {
    enclosure: Option<Enclosure>,
    site: Option<Site>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let (Some(_), Some(site)) = (&self.enclosure, &self.site)
            && let Err(error) = site.clear()
        {
            tracing::warn!(%error, "cannot remove what was to be around an instance");
        }
    }
}

impl Starting<'_> {
    fn io_error(&self) -> impl Fn(io::Error) -> InstanceError + use<> {
        let name = self.plan.name.clone();
        move |source| InstanceError::starting(&name, source)
    }

    fn note(&self) -> Result<(), InstanceError> {
        let noted = self.supervisor.journal().note(&self.entry);
        noted.map_err(self.io_error())
    }

    /// Keeps the name from others, if nobody has it.
    async fn take_name(&mut self) -> Result<(), InstanceError> {
        let name = &self.plan.name;
        let lock = try_lock(self.supervisor.client().config_dir(), name);
        let lock = lock.map_err(self.io_error())?;
        let lock = lock.ok_or_else(|| InstanceError::name_taken(name))?;
        self.remnant.keep_name(lock);
        if running(&self.records, name).await?.is_some() {
            return Err(InstanceError::name_taken(name));
        }
        self.remnant.name_is_anothers(false);
        let logs = self.records.logs(name);
        self.entry.log_length = length(&logs[1]);
        let log_starts = blocking(move || logs::ends(&logs)).await;
        self.entry.log_starts = log_starts.map_err(self.io_error())?;
        Ok(())
    }

    /// Makes what can be made before anything is started.
    async fn prepare(&mut self) -> Result<(), InstanceError> {
        let spec = &self.plan.spec;
        let (limits, site) = (spec.limits.clone(), self.entry.site.clone());
        let ports = spec.ports.clone();
        self.reservations = blocking(move || Reservations::of(&ports)).await?;
        let prepared = blocking(move || {
            let enclosure = Enclosure::prepare(&limits, site.as_ref())?;
            let enclosure = Some(enclosure);
            Ok(Prepared { enclosure, site })
        });
        let limit_error = |source| InstanceError::limit("start", &self.plan.name, source);
        let mut prepared = prepared.await.map_err(limit_error)?;
        self.enclosure = prepared.enclosure.take().unwrap_or_else(Enclosure::nothing);
        self.entry.enclosure = Some(self.enclosure.record());
        self.entry.ports = self.reservations.numbers();
        self.entry.spec = spec.substituted(&self.entry.ports).noted();
        let layer = OverlayLayer::new(self.room.overlay());
        let layer = spec.temporary_overlay.then_some(layer);
        self.settings = self.entry.spec.settled(&self.entry.ports, layer);
        Ok(())
    }

    /// Starts the container with its agent. What has been started when this fails is left to
    /// [`clear`](Self::clear).
    async fn start(&mut self) -> Result<(Processes, Link), InstanceError> {
        /// Within this an agent that runs has said so.
        const MOMENT: Duration = Duration::from_millis(100);
        let io_error = self.io_error();
        // Noted before there is anything to find.
        self.note()?;
        self.take_name().await?;
        self.prepare().await?;
        self.note()?;
        // Somebody may have cleared it away.
        super::make_runtime(self.supervisor.runtime())?;
        Room::make(self.entry.room.clone()).map_err(&io_error)?;
        if self.plan.spec.temporary_overlay {
            let (layer, folder) = (self.plan.layer.clone(), self.room.overlay());
            let made = blocking(move || layer.make(&folder)).await;
            made.map_err(&io_error)?;
        }
        let mut resident = Resident::at(&self.room.socket())?;
        let mut spawn = self.invocation()?;
        resident.lend(&mut spawn)?;
        self.room.mark(&mut spawn).map_err(&io_error)?;
        let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
        // Whatever becomes of it, it is found by what it was marked with.
        let mut process = Running::spawn(spawn, OnDrop::Detach)?;
        let [_, _, stderr] = process.take_pipes();

        let mut link = pin!(resident.link());
        let ended = process.ended().map_err(&io_error)?;
        let link = tokio::select! {
            link = &mut link => link?,
            ended = ended.wait() => {
                ended.map_err(&io_error)?;
                let exit = process.wait().await.map_err(&io_error)?;
                let stderr = stderr.map(read_available).unwrap_or_default();
                if !exit.success() {
                    return Err(self.failure(program, argv, exit, &stderr));
                }
                // It may have begun just now.
                loop {
                    match tokio::time::timeout(MOMENT, &mut link).await {
                        Ok(link) => break link?,
                        Err(_) if Instant::now() >= self.deadline => return Err(self.timed_out()),
                        Err(_) if self.runs_something().map_err(&io_error)? => {}
                        Err(_) => return Err(self.ended_at_once()),
                    }
                }
            }
            () = tokio::time::sleep_until(self.deadline) => return Err(self.timed_out()),
        };
        let processes = self.processes(&mut process, &link).await?;
        Ok((processes, link))
    }

    /// Ends what has been started, and waits until it is gone. Where it cannot be ended, why it
    /// was not started is what counts all the same.
    async fn clear(self) {
        let name = self.plan.name.clone();
        let mut remnant = self.remnant;
        match blocking(move || remnant.clear(Known::Nothing)).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(name, "what was started of an instance is still there"),
            Err(error) => tracing::warn!(%error, name, "cannot clear up what was started"),
        }
    }

    /// Whether anything runs in the container that Apptainer has started.
    fn runs_something(&self) -> io::Result<bool> {
        let Ok(Some(record)) = self.records.read(&self.plan.name) else {
            return Ok(false);
        };
        let main = Processes::of(&record)?.map(|processes| processes.main_ended());
        Ok(main.transpose()?.flatten().is_some())
    }

    /// The processes of the instance, once Apptainer has noted them: it does so a moment after
    /// the first has begun.
    async fn processes(
        &mut self,
        process: &mut Running,
        link: &Link,
    ) -> Result<Processes, InstanceError> {
        const PAUSE: Duration = Duration::from_millis(1);
        let io_error = self.io_error();
        loop {
            // Apptainer ends when it has noted them: what is not there by then has ended.
            let exit = process.try_wait().map_err(&io_error)?;
            // One that is malformed is being written.
            if let Ok(Some(record)) = self.records.read(&self.plan.name)
                && let Some(processes) = Processes::of(&record).map_err(&io_error)?
            {
                let has = link.pid().map(|agent| processes.has_first(agent));
                return match has.transpose().map_err(&io_error)? {
                    None | Some(Some(true)) => Ok(processes),
                    // Whose it is cannot be told any more.
                    Some(None) => Err(self.ended_at_once()),
                    // Somebody started one of its name past our lock.
                    Some(Some(false)) => {
                        self.remnant.name_is_anothers(true);
                        Err(InstanceError::name_taken(&self.plan.name))
                    }
                };
            }
            if exit.is_some() {
                return Err(self.ended_at_once());
            }
            if Instant::now() >= self.deadline {
                return Err(self.timed_out());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Starts the payload, and hands everything over to who watches it.
    async fn finish(
        mut self,
        (processes, link): (Processes, Link),
    ) -> Result<Service, InstanceError> {
        let io_error = self.io_error();
        let started = async {
            self.adopt(&processes).await?;
            let agent = super::agent(&link).map_err(&io_error)?;
            let servers = processes.servers().map_err(&io_error)?;
            if servers.len() < processes.served() {
                // One has ended, and nothing would tell of that any more.
                return Err(self.ended_at_once());
            }
            let noted = servers.iter().map(|server| &server.process);
            let noted = noted.map(|process| (process.pid, process.started));
            let noted = noted.collect();
            // What serves the container's file system has the agent's socket, so that the link
            // does not tell.
            let [first, _] = processes.both_ended().map_err(&io_error)?;
            let ended = link.ended().map_err(&io_error)?;
            let agent_ended = async {
                match &ended {
                    Some(agent) => agent.wait().await,
                    None => std::future::pending().await,
                }
            };
            let is_gone = async {
                tokio::select! {
                    ended = first.wait() => ended,
                    ended = agent_ended => ended,
                }
            };
            let mut is_late = false;
            let deadline = self.deadline;
            let payload = tokio::select! {
                payload = self.payload(&link) => Some(payload?),
                _ = is_gone => None,
                () = tokio::time::sleep_until(deadline) => {
                    is_late = true;
                    None
                }
            };
            let payload = payload.ok_or_else(|| {
                if is_late {
                    self.timed_out()
                } else {
                    self.ended_at_once()
                }
            })?;
            self.entry.started = Some(Started {
                agent,
                servers: noted,
                payload: payload.as_ref().and_then(Child::number),
            });
            self.note()?;
            Ok((payload, servers))
        };
        let (payload, servers) = match started.await {
            Ok(started) => started,
            Err(error) => {
                self.clear().await;
                return Err(error);
            }
        };
        let Self {
            supervisor,
            plan,
            entry,
            remnant,
            records,
            settings,
            enclosure,
            reservations,
            ..
        } = self;
        let up = Up {
            processes,
            servers,
            link,
            payload,
            enclosure,
            reservations: Some(reservations),
            health: plan.spec.health.clone(),
        };
        let settings = settings.for_joining();
        let watched = Watched::own(supervisor, entry, records, settings, up, remnant);
        let watch = watched.and_then(Watch::new).map_err(io_error)?;
        Ok(watch.begin(supervisor))
    }

    /// Takes what Apptainer has started into what is to be around it.
    async fn adopt(&mut self, processes: &Processes) -> Result<(), InstanceError> {
        let limit_error = |source| InstanceError::limit("start", &self.plan.name, source);
        let mut enclosure = std::mem::replace(&mut self.enclosure, Enclosure::nothing());
        let theirs = processes.clone();
        let adopted = blocking(move || enclosure.adopt(&theirs).map(|()| enclosure)).await;
        self.enclosure = adopted.map_err(limit_error)?;
        self.enclosure.watch(processes).map_err(limit_error)?;
        self.entry.enclosure = Some(self.enclosure.record());
        Ok(())
    }

    async fn payload(&mut self, link: &Link) -> Result<Option<Child>, InstanceError> {
        let Some(words) = self.entry.spec.argv() else {
            return Ok(None);
        };
        let (program, args) = words.split_first().ok_or(InstanceError::NoCommand)?;
        self.reservations.release_before_start();
        let [stdout, stderr] = self.records.logs(&self.plan.name);
        let open = |path: &Path| File::options().append(true).create(true).open(path);
        let defaults = self.plan.spec.command_defaults(self.enclosure.rlimits());
        let mut command = link.command_like(program, defaults);
        // Apptainer sets variables by scripts of its own, which a directory may not have.
        let variables = self.settings.env.iter();
        command
            .envs(variables.map(|(name, value)| (name, value)))
            .args(args)
            .stdin(crate::Stdio::null())
            .stdout(open(&stdout).map_err(self.io_error())?)
            .stderr(open(&stderr).map_err(self.io_error())?)
            .kill_on_drop(false);
        Ok(Some(command.spawn().await?))
    }

    fn invocation(&self) -> Result<Spawn, InstanceError> {
        let folders = [
            self.supervisor.runtime(),
            self.supervisor.journal().folder(),
        ];
        let agent = agent_file(folders).map_err(self.io_error())?;
        let (image, name) = (self.plan.image.path(), &self.plan.name);
        let mut action = self.settings.checked()?;
        for (variable, value) in &self.settings.env {
            action.env(variable, value);
        }
        let spec = &self.plan.spec;
        action.mount(Mount::bind(agent, spec.agent_place()).access(Access::ReadOnly));
        let arguments = Resident::arguments();
        let client = self.supervisor.client();
        let global = GlobalOptions::silent();
        let mut spawn = if spec.takes_runscript() {
            let mut run = Run::new(image, name, arguments);
            run.action = action;
            client.invocation(&global, &run)?
        } else {
            let mut start = Start::new(image, name, arguments);
            start.action = action;
            client.invocation(&global, &start)?
        };
        for (variable, value) in &self.settings.host_env {
            spawn.set_env(variable, value);
        }
        let placement = self.enclosure.placement();
        let placement = placement.map_err(|source| InstanceError::limit("start", name, source))?;
        if let Some(placement) = placement {
            spawn.cgroup(placement);
        }
        spawn
            .session(Session::NewSession)
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::pipe());
        self.plan.image.lend(&mut spawn);
        Ok(spawn)
    }
}

/// A number that no other start has, of this program's or another's.
fn unique() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let hash = RandomState::new().hash_one(std::process::id());
    u32::try_from(hash >> 32).unwrap_or_default()
}
