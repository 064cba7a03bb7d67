//! Starting instances.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use apptainer_sys::command::GlobalOptions;
use apptainer_sys::command::instance::Start;
use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::{Exit, Session, Spawn, Stdio};
use apptainer_sys::state::instance::{Records, is_valid_name};
use tokio::net::unix::pipe::Receiver;

use super::list::{records, running};
use super::lock::try_lock;
use super::processes::Processes;
use super::remains::{Naming, Remains, Starting};
use super::{Instance, InstanceError, logs};
use crate::blocking::blocking;
use crate::container::Container;
use crate::error::ApptainerFailure;
use crate::process::{OnDrop, Running, Tail, read_available};

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
        let lock = try_lock(client.config_dir(), name).map_err(io_error)?;
        let lock = lock.ok_or_else(taken)?;
        if running(&records, name).await?.is_some() {
            return Err(taken());
        }
        let logs = records.logs(name);
        let log_start = length(&logs[1]);
        let log_starts = blocking(move || logs::ends(&logs))
            .await
            .map_err(io_error)?;
        let remains = Remains::new(records.clone(), name, naming);
        let starting = Arc::new(Starting::new(remains.clone(), lock));
        let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
        let mut process = Running::spawn(spawn, OnDrop::Kill)?;
        process.keep(Arc::clone(&starting));
        let [_, _, stderr] = process.take_pipes();
        let ended = ended(&mut process, stderr).await;
        let (exit, stderr) = ended.map_err(io_error)?;
        let log = log_since(&records, name, log_start);
        // Nothing is awaited between this and having the instance.
        let error = if exit.success() {
            let record = records.read(name)?;
            let processes = record.as_ref().map(Processes::of).transpose();
            if let Some(processes) = processes.map_err(io_error)?.flatten() {
                starting.finish();
                let settings = self.settings.for_joining();
                return Ok(Instance::new(
                    client, settings, name, processes, records, remains, log_starts,
                ));
            }
            InstanceError::EndedAtOnce {
                name: name.to_owned(),
                log,
            }
        } else {
            let failure = Failure::from_stderr(&stderr);
            if failure.kind == FailureKind::InstanceExists {
                // Somebody started it past our lock: it is not ours to end.
                starting.finish();
                return Err(taken());
            }
            InstanceError::Apptainer {
                name: name.to_owned(),
                failure: Box::new(ApptainerFailure {
                    program,
                    argv,
                    exit,
                    failure,
                    stderr: String::from_utf8_lossy(&stderr).into_owned(),
                    stdout: String::new(),
                }),
                log,
            }
        };
        let kept = process.release();
        blocking(move || drop((kept, starting))).await;
        Err(error)
    }

    fn start_invocation(&self, name: &str) -> Result<Spawn, InstanceError> {
        let mut start = Start::new(self.image().path(), name, [] as [OsString; 0]);
        start.action = self.settings.checked()?;
        for (variable, value) in &self.settings.env {
            start.action.env(variable, value);
        }
        let mut spawn = self.client().invocation(&GlobalOptions::silent(), &start)?;
        for (variable, value) in &self.settings.host_env {
            spawn.set_env(variable, value);
        }
        spawn
            .session(Session::NewSession)
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::pipe());
        self.image().lend(&mut spawn);
        Ok(spawn)
    }
}

/// How `apptainer` ended, and the end of what it wrote. That is read while it runs, for it
/// passes on what the instance writes at first, which may be more than a pipe has room for.
async fn ended(process: &mut Running, stderr: Option<OwnedFd>) -> io::Result<(Exit, Vec<u8>)> {
    let tail = Tail::default();
    let pipe = stderr.map(Receiver::from_owned_fd).transpose()?;
    let drain = async {
        if let Some(pipe) = &pipe {
            let mut buffer = vec![0; 16 * 1024];
            while pipe.readable().await.is_ok() {
                match pipe.try_read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => tail.push(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        }
        std::future::pending::<Infallible>().await
    };
    let exit = tokio::select! {
        exit = process.wait() => exit?,
        never = drain => match never {},
    };
    tail.push(&pipe.as_ref().map(read_available).unwrap_or_default());
    Ok((exit, tail.bytes()))
}

/// A name that no other process, and nothing else in this one, comes up with.
pub(super) fn generated_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = now.map_or(0, |since| since.as_micros());
    format!("rs-{}-{since:x}-{count}", std::process::id())
}

pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// The end of what the instance has written to its standard error since it was
/// started: the log may hold what one of the same name wrote earlier.
pub(super) fn log_since(records: &Records, name: &str, start: u64) -> String {
    log_end(&records.logs(name)[1], start)
}

/// The same of the log at this path.
pub(super) fn log_end(log: &Path, start: u64) -> String {
    const MOST: u64 = 4096;
    let read = || -> io::Result<String> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = fs::File::open(log)?;
        let end = file.metadata()?.len();
        // It may have been rotated since.
        let start = if start > end { 0 } else { start };
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(MOST))))?;
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_there_although_it_was_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.err");
        fs::write(&log, "earlier\nlast words\n").unwrap();
        assert_eq!(log_end(&log, 8), "last words");
        fs::write(&log, "last words\n").unwrap();
        assert_eq!(log_end(&log, 1000), "last words");
    }
}
