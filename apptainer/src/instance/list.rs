//! Instances that run, whoever started them.

use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::Pid;
use apptainer_sys::state::instance::{Config, Record, RecordError, Records, is_valid_name};

use super::InstanceError;
use super::processes::Processes;
use crate::Apptainer;
use crate::blocking::blocking;
use crate::container::Settings;

/// How long a record may take to be written.
const PATIENCE: Duration = Duration::from_millis(100);

/// An instance that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Its name.
    pub name: String,
    /// The first process in the container, as the host numbers it.
    pub pid: Pid,
    /// The image.
    pub image: PathBuf,
    /// Where its standard output goes.
    pub stdout: PathBuf,
    /// Where its standard error goes.
    pub stderr: PathBuf,
}

impl Apptainer {
    /// The instances of this user on this host that run, by name, whoever started
    /// them.
    ///
    /// Reads Apptainer's records, and leaves them as they are.
    pub async fn instances(&self) -> Result<Vec<InstanceInfo>, InstanceError> {
        let records = records(self, "list")?;
        let mut instances = Vec::new();
        for name in records.names()? {
            instances.extend(running(&records, &name).await?.map(|record| InstanceInfo {
                name: record.name,
                pid: record.pid,
                image: record.image,
                stdout: record.stdout,
                stderr: record.stderr,
            }));
        }
        Ok(instances)
    }
}

pub(super) fn records(client: &Apptainer, name: &str) -> Result<Records, InstanceError> {
    Records::of(client.config_dir()).map_err(|source| InstanceError::Io {
        doing: "find",
        name: name.to_owned(),
        source,
    })
}

/// An instance that runs.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Records,
    pub(super) processes: Processes,
    /// What its commands need to get in.
    pub(super) settings: Settings,
}

/// The instance of this name.
pub(super) async fn found(client: &Apptainer, name: &str) -> Result<Found, InstanceError> {
    let not_running = || InstanceError::NotRunning {
        name: name.to_owned(),
    };
    if !is_valid_name(name) {
        return Err(not_running());
    }
    let records = records(client, name)?;
    let record = running(&records, name).await?.ok_or_else(not_running)?;
    let processes = Processes::of(&record).map_err(|source| InstanceError::Io {
        doing: "look at",
        name: name.to_owned(),
        source,
    })?;
    let processes = processes.ok_or_else(not_running)?;
    Ok(Found {
        records,
        processes,
        settings: joining(&record),
    })
}

/// What gets into an instance that has given up root's privileges, for root.
fn joining(record: &Record) -> Settings {
    let mut settings = Settings::default();
    let has_none = |config: Config| config.capabilities.is_empty();
    if nix::unistd::geteuid().is_root() && record.config().is_ok_and(has_none) {
        settings.action.no_privs(true);
    }
    settings
}

/// The record of an instance, if that runs. Waits a little for one that is being
/// written; one that stays half written was left so when its writer was killed.
pub(super) async fn running(
    records: &Records,
    name: &str,
) -> Result<Option<Record>, InstanceError> {
    let mut read = records.read(name);
    if matches!(read, Err(RecordError::Malformed { .. })) {
        let (records, name) = (records.clone(), name.to_owned());
        read = blocking(move || records.read_whole(&name, PATIENCE)).await;
    }
    let record = match read {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(None),
        Err(error @ RecordError::Malformed { .. }) => {
            tracing::warn!(%error, "taking a damaged record for that of a dead instance");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let is_running = record.is_running().map_err(|source| InstanceError::Io {
        doing: "look at",
        name: name.to_owned(),
        source,
    })?;
    Ok(is_running.then_some(record))
}
