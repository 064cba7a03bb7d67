//! Instances that run, whoever started them.

use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::Pid;
use apptainer_sys::state::instance::{Record, RecordError, Records};

use super::InstanceError;
use crate::Apptainer;

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

/// The record of an instance, if that runs. Waits a little for one that is being
/// written; one that stays half written was left so when its writer was killed.
pub(super) async fn running(
    records: &Records,
    name: &str,
) -> Result<Option<Record>, InstanceError> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(5);
    let mut tries = 0;
    let record = loop {
        match records.read(name) {
            Ok(Some(record)) => break record,
            Ok(None) => return Ok(None),
            Err(RecordError::Malformed { .. }) if tries < TRIES => tries += 1,
            Err(error @ RecordError::Malformed { .. }) => {
                tracing::warn!(%error, "taking a damaged record for that of a dead instance");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    };
    let is_running = record.is_running().map_err(|source| InstanceError::Io {
        doing: "look at",
        name: name.to_owned(),
        source,
    })?;
    Ok(is_running.then_some(record))
}
