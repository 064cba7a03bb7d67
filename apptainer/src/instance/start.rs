//! Starting instances.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use apptainer_sys::command::GlobalOptions;
use apptainer_sys::command::instance::Start;
use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::{Session, Spawn, Stdio};
use apptainer_sys::state::instance::{Records, is_valid_name};
use bytes::BytesMut;
use tokio::net::unix::pipe::Receiver;

use super::list::records;
use super::lock::NameLock;
use super::running::Remains;
use super::{Instance, InstanceError};
use crate::container::Container;
use crate::error::ApptainerFailure;
use crate::process::{OnDrop, Running, Tail};

impl Container {
    /// Starts an instance under a name that nobody else has.
    ///
    /// Its logs are removed when it is stopped, for nobody could find them.
    ///
    /// Dropping the future ends what has been started.
    pub async fn start(&self) -> Result<Instance, InstanceError> {
        self.start_instance(&generated_name(), Naming::Generated)
            .await
    }

    /// Starts an instance under the given name: letters, digits, dots,
    /// underscores and dashes.
    ///
    /// Its logs stay when it is stopped, as Apptainer leaves them.
    ///
    /// Dropping the future ends what has been started.
    pub async fn start_as(&self, name: impl AsRef<str>) -> Result<Instance, InstanceError> {
        let name = name.as_ref();
        if !is_valid_name(name) {
            return Err(InstanceError::InvalidName {
                name: name.to_owned(),
            });
        }
        self.start_instance(name, Naming::Given).await
    }

    async fn start_instance(&self, name: &str, naming: Naming) -> Result<Instance, InstanceError> {
        let client = self.client();
        let io_error = |source| InstanceError::Io {
            doing: "start",
            name: name.to_owned(),
            source,
        };
        let records = records(client, name)?;
        let spawn = self.start_invocation(name)?;
        let taken = || InstanceError::NameTaken {
            name: name.to_owned(),
        };
        let lock = NameLock::try_take(client.config_dir(), name).map_err(io_error)?;
        let lock = lock.ok_or_else(taken)?;
        if let Some(record) = records.read(name)?
            && record.is_running().map_err(io_error)?
        {
            return Err(taken());
        }
        let log_start = length(&records.logs(name)[1]);
        let remains = Remains::new(records.clone(), name, naming == Naming::Generated);
        let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
        let mut running = Running::spawn(spawn, OnDrop::Kill)?;
        // Until it has ended: it might still write a record.
        running.keep(lock);
        running.keep(remains.clone());
        let [_, _, stderr] = running.take_pipes();
        let exit = running.wait().await.map_err(io_error)?;
        let log = || log_since(&records, name, log_start);
        if exit.success() {
            // Nothing is awaited from here on: there is an instance, or an error.
            return Instance::adopt(self, &records, name, remains, log);
        }
        let tail = Tail::default();
        if let Some(stderr) = stderr {
            read_rest(&Receiver::from_owned_fd(stderr).map_err(io_error)?, &tail);
        }
        let stderr = tail.bytes();
        let failure = Failure::from_stderr(&stderr);
        if failure.kind == FailureKind::InstanceExists {
            return Err(taken());
        }
        remains.clear();
        Err(InstanceError::Apptainer {
            name: name.to_owned(),
            failure: Box::new(ApptainerFailure {
                program,
                argv,
                exit,
                failure,
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
            }),
            log: log(),
        })
    }

    fn start_invocation(&self, name: &str) -> Result<Spawn, InstanceError> {
        let mut start = Start::new(self.image().path(), name, [] as [OsString; 0]);
        start.action = self.settings.checked()?;
        for (variable, value) in &self.settings.env {
            start.action.env(variable, value);
        }
        let mut spawn = self.client().invocation(&GlobalOptions::silent(), &start)?;
        spawn
            .session(Session::NewSession)
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::pipe());
        Ok(spawn)
    }
}

/// Who chose the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Given,
    Generated,
}

/// A name that no other process, and nothing else in this one, comes up with.
fn generated_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = now.map_or(0, |since| since.as_micros());
    format!("rs-{}-{since:x}-{count}", std::process::id())
}

/// The pipe may be held by what the starter left; what it holds now is enough.
fn read_rest(stderr: &Receiver, tail: &Tail) {
    let mut rest = BytesMut::new();
    while matches!(stderr.try_read_buf(&mut rest), Ok(1..)) {
        tail.push(&rest.split());
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// The end of what the instance has written to its standard error since it was
/// started: the log may hold what one of the same name wrote earlier.
fn log_since(records: &Records, name: &str, start: u64) -> String {
    const MOST: u64 = 4096;
    let read = || -> io::Result<String> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = fs::File::open(&records.logs(name)[1])?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(MOST))))?;
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    };
    read().unwrap_or_default()
}
