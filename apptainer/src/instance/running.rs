//! An instance that runs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apptainer_sys::cgroup::Cgroup;
use apptainer_sys::process::Pid;
use apptainer_sys::state::instance::Records;

use super::InstanceError;
use super::limits::LimitError;
use super::list::found;
use super::logs::ReadLogs;
use super::pause::{Pause, Who};
use super::processes::Processes;
use super::remains::{Naming, Remains};
use crate::blocking::blocking;
use crate::container::Settings;
use crate::exec::{Place, Slot, Way};
use crate::{Apptainer, Command, Files};

/// A container that runs in the background.
///
/// [`stop`](Self::stop) ends it and waits until it is gone. Dropped, it is killed
/// without waiting, unless somebody else has started it.
#[derive(Debug)]
pub struct Instance {
    client: Apptainer,
    name: String,
    pub(super) processes: Arc<Processes>,
    records: Records,
    remains: Remains,
    /// How much earlier ones of its name had written.
    log_starts: [u64; 2],
    /// The agent in it, started by the first command.
    pub(super) slot: Arc<Slot>,
    files: OnceLock<Files>,
    /// What was paused.
    paused: Arc<Pause>,
    /// Whether it is to be killed when this is dropped.
    is_ours: bool,
}

/// How long an instance may take to obey `SIGTERM`, unless the caller says.
pub(super) const GRACE: Duration = Duration::from_secs(10);

impl Instance {
    pub(super) fn new(
        client: &Apptainer,
        settings: Settings,
        name: &str,
        processes: Processes,
        records: Records,
        remains: Remains,
        log_starts: [u64; 2],
    ) -> Self {
        let place = Place {
            client: client.clone(),
            image: format!("instance://{name}").into(),
            settings,
            uses: None,
        };
        Self {
            client: client.clone(),
            name: name.to_owned(),
            processes: Arc::new(processes),
            records,
            remains,
            log_starts,
            slot: Arc::new(Slot::new(place)),
            files: OnceLock::new(),
            paused: Arc::default(),
            is_ours: true,
        }
    }

    /// An instance of this user's on this host, whoever started it.
    ///
    /// Dropped, it goes on; [`stop`](Self::stop) ends it.
    ///
    /// # Errors
    ///
    /// [`NotRunning`](InstanceError::NotRunning) where there is none of this name.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use apptainer::{Apptainer, Instance};
    ///
    /// let apptainer = Apptainer::discover().await?;
    /// let database = Instance::attach(&apptainer, "database").await?;
    /// let status = database.command("pg_isready").status().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn attach(client: &Apptainer, name: impl AsRef<str>) -> Result<Self, InstanceError> {
        let name = name.as_ref();
        let found = found(client, name).await?;
        let remains = Remains::new(found.records.clone(), name, Naming::Given);
        let mut instance = Self::new(
            client,
            found.settings,
            name,
            found.processes,
            found.records,
            remains,
            [0; 2],
        );
        instance.is_ours = false;
        Ok(instance)
    }

    /// Its name: `apptainer exec instance://NAME` joins it too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first process in the container, as the host numbers it.
    pub fn pid(&self) -> Pid {
        self.processes.payload_pid()
    }

    /// Where its standard output and standard error go: [`read_logs`](Self::read_logs) reads
    /// them.
    pub fn logs(&self) -> [PathBuf; 2] {
        self.records.logs(&self.name)
    }

    /// What it wrote, and what it writes: line by line.
    ///
    /// What an earlier instance of its name wrote is not of it.
    pub fn read_logs(&self) -> ReadLogs {
        let process = self.processes.last().try_clone();
        ReadLogs::new(self.logs(), self.log_starts, process)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> Result<bool, InstanceError> {
        match self.processes.has_ended() {
            Ok(has_ended) => Ok(!has_ended),
            Err(source) => Err(InstanceError::Io {
                doing: "look at",
                name: self.name.clone(),
                source,
            }),
        }
    }

    pub(super) fn processes(&self) -> &Processes {
        &self.processes
    }

    pub(super) fn paused(&self) -> &Arc<Pause> {
        &self.paused
    }

    /// The cgroup that Apptainer made for it, if it did, where it is not that of others too.
    pub(super) async fn own_group(&self) -> Result<Option<Cgroup>, InstanceError> {
        let (records, name, pid) = (self.records.clone(), self.name.clone(), self.pid());
        blocking(move || {
            let record = records.read(&name)?;
            if !record.is_some_and(|record| record.has_cgroup && record.pid == pid) {
                return Ok(None);
            }
            let groups = Cgroup::of_process(pid)
                .and_then(|theirs| Ok(theirs.apart_from(&Cgroup::current()?)));
            groups.map_err(|error| InstanceError::limit("find the cgroup of", &name, error.into()))
        })
        .await
    }

    pub(super) fn limit_error(&self, doing: &'static str, source: LimitError) -> InstanceError {
        InstanceError::Limit {
            doing,
            name: self.name.clone(),
            source,
        }
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// A command in the instance.
    ///
    /// The environment, working directory and privileges are the
    /// [`Container`](crate::Container)'s; the program is a path in it, or a name on its `PATH`.
    ///
    /// The first starts an agent in the instance, which takes an `apptainer exec`; the
    /// others are started by that. A command that shares the caller's terminal takes an
    /// `apptainer exec` of its own, by which the terminal's signals reach it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(Way::Slot(Arc::clone(&self.slot)), program)
    }

    /// The files in the instance.
    pub fn files(&self) -> Files {
        let files = || Files::new(Way::Slot(Arc::clone(&self.slot)));
        self.files.get_or_init(files).clone()
    }

    /// Stops it: `SIGTERM`, and after 10 seconds `SIGKILL`. When this returns
    /// nothing of it is left: no process, mount or record.
    ///
    /// Dropping the future kills the instance without waiting, unless it was
    /// [attached](Self::attach) to.
    pub async fn stop(self) -> Result<(), InstanceError> {
        self.stop_within(GRACE).await
    }

    /// The same with another grace.
    pub async fn stop_within(mut self, grace: Duration) -> Result<(), InstanceError> {
        // What stands still obeys nobody; what cannot go on is killed in the end.
        if let Err(error) = self.resume().await {
            tracing::warn!(%error, "cannot let it go on to stop it");
        }
        let is_gone = self.processes.end(grace).await;
        let is_gone = is_gone.map_err(|source| InstanceError::Io {
            doing: "stop",
            name: self.name.clone(),
            source,
        })?;
        if !is_gone {
            return Err(InstanceError::StillRunning {
                name: self.name.clone(),
            });
        }
        self.slot.forget();
        self.remains.clear(self.client.config_dir());
        self.is_ours = false;
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        if let Err(error) = self.processes.kill() {
            tracing::warn!(%error, name = self.name, "cannot kill a dropped instance");
        }
        // Only then does what is frozen end.
        if let Err(error) = Arc::clone(&self.paused).resume_unawaited(Who::User) {
            tracing::warn!(%error, name = self.name, "cannot resume a dropped instance");
        }
        self.remains.clear_logs();
    }
}
