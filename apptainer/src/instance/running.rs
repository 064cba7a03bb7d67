//! An instance that runs.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::{Pid, PidFd, Process, Signal, Tree};
use apptainer_sys::state::instance::Records;

use super::InstanceError;
use crate::container::Settings;
use crate::exec::Place;
use crate::process::Ended;
use crate::{Apptainer, Command, Container};

/// A container that runs in the background.
///
/// [`stop`](Self::stop) ends it and waits until it is gone. Dropped, it is killed
/// without waiting.
#[derive(Debug)]
pub struct Instance {
    client: Apptainer,
    name: String,
    settings: Settings,
    payload: Held,
    master: Held,
    records: Records,
    remains: Remains,
    is_over: bool,
}

/// A process that is held, so that its pid cannot come to mean another.
#[derive(Debug)]
struct Held {
    pid: Pid,
    pidfd: PidFd,
}

impl Held {
    fn open(pid: Pid) -> std::io::Result<Self> {
        Ok(Self {
            pid,
            pidfd: PidFd::open(pid)?,
        })
    }
}

/// How long an instance may take to be gone once it has been killed: unmounting
/// a FUSE file system takes Apptainer up to two seconds.
const CLEAN_UP: Duration = Duration::from_secs(4);

/// How long an instance may take to obey `SIGTERM`, unless the caller says.
const GRACE: Duration = Duration::from_secs(10);

impl Instance {
    /// Takes over the instance that has just been started.
    pub(super) fn adopt(
        container: &Container,
        records: &Records,
        name: &str,
        remains: Remains,
        log: impl FnOnce() -> String,
    ) -> Result<Self, InstanceError> {
        let ended = || InstanceError::EndedAtOnce {
            name: name.to_owned(),
            log: log(),
        };
        let io_error = |source| InstanceError::Io {
            doing: "start",
            name: name.to_owned(),
            source,
        };
        let Some(record) = records.read(name)? else {
            return Err(ended());
        };
        let (Ok(payload), Ok(master)) = (Held::open(record.pid), Held::open(record.master)) else {
            return Err(ended());
        };
        // The pids were read before they were held.
        let is_ours = Process::read(payload.pid)
            .map_err(io_error)?
            .is_some_and(|process| process.parent == master.pid);
        if !is_ours || !record.is_running().map_err(io_error)? {
            return Err(ended());
        }
        Ok(Self {
            client: container.client().clone(),
            name: name.to_owned(),
            settings: container.settings.clone(),
            payload,
            master,
            records: records.clone(),
            remains,
            is_over: false,
        })
    }

    /// Its name: `apptainer exec instance://NAME` joins it too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first process in the container, as the host numbers it.
    pub fn pid(&self) -> Pid {
        self.payload.pid
    }

    /// Where its standard output and standard error go.
    pub fn logs(&self) -> [PathBuf; 2] {
        self.records.logs(&self.name)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> Result<bool, InstanceError> {
        let has_ended = self.master.pidfd.has_ended();
        has_ended
            .map(|ended| !ended)
            .map_err(|source| self.failed("look at", source))
    }

    /// A command in the instance.
    ///
    /// The environment, working directory and privileges are the
    /// [`Container`]'s; the program is a path in it, or a name on its `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let place = Place {
            client: self.client.clone(),
            image: format!("instance://{}", self.name).into(),
            settings: self.settings.for_joining(),
        };
        Command::new(place, program)
    }

    /// Stops it: `SIGTERM`, and after 10 seconds `SIGKILL`. When this returns
    /// nothing of it is left: no process, mount or record.
    ///
    /// Dropping the future kills the instance without waiting.
    pub async fn stop(self) -> Result<(), InstanceError> {
        self.stop_within(GRACE).await
    }

    /// The same with another grace.
    pub async fn stop_within(mut self, grace: Duration) -> Result<(), InstanceError> {
        let failed = |source| InstanceError::Io {
            doing: "stop",
            name: self.name.clone(),
            source,
        };
        let ended = Ended::of(&self.master.pidfd).map_err(failed)?;
        self.payload.pidfd.signal(Signal::TERM).map_err(failed)?;
        if tokio::time::timeout(grace, ended.wait()).await.is_err() {
            self.payload.pidfd.signal(Signal::KILL).map_err(failed)?;
        }
        if tokio::time::timeout(CLEAN_UP, ended.wait()).await.is_err() {
            self.master.pidfd.signal(Signal::KILL).map_err(failed)?;
            if tokio::time::timeout(CLEAN_UP, ended.wait()).await.is_err() {
                return Err(InstanceError::StillRunning {
                    name: self.name.clone(),
                });
            }
        }
        sweep(self.master.pid).map_err(failed)?;
        self.remains.clear();
        self.is_over = true;
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> InstanceError {
        InstanceError::Io {
            doing,
            name: self.name.clone(),
            source,
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The first process of a PID namespace takes all others with it, and the
        // master then cleans up and removes the record.
        if let Err(error) = self.payload.pidfd.signal(Signal::KILL) {
            tracing::warn!(%error, name = self.name, "cannot kill a dropped instance");
        }
        self.remains.clear_logs();
    }
}

/// Kills what is left in the session of a master that has ended: FUSE programs,
/// when it was killed and could not end them.
fn sweep(master: Pid) -> std::io::Result<()> {
    for member in Tree::below(master)?.members() {
        if member.process.session == master {
            member.pidfd.signal(Signal::KILL)?;
        }
    }
    Ok(())
}

/// What an instance leaves on disk.
#[derive(Debug, Clone)]
pub(super) struct Remains {
    records: Records,
    name: String,
    has_logs_of_its_own: bool,
}

impl Remains {
    pub(super) fn new(records: Records, name: &str, has_logs_of_its_own: bool) -> Self {
        Self {
            records,
            name: name.to_owned(),
            has_logs_of_its_own,
        }
    }

    /// Removes the record, which a master that was killed leaves, and the logs of
    /// an instance that nobody knows the name of.
    pub(super) fn clear(&self) {
        let record = self.records.read(&self.name);
        if matches!(&record, Ok(Some(record)) if record.is_running().unwrap_or(true)) {
            return;
        }
        let _ = fs::remove_dir_all(self.records.folder(&self.name));
        self.clear_logs();
    }

    fn clear_logs(&self) {
        if self.has_logs_of_its_own {
            for log in self.records.logs(&self.name) {
                let _ = fs::remove_file(log);
            }
        }
    }
}
