//! One record, and whether what it tells of is still there.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use crate::process::{Pid, PidFd, Process, State};

/// What Apptainer wrote down of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The first process in the container.
    pub pid: Pid,
    /// Its parent on the host, which watches over the container and removes the
    /// record in the end.
    #[serde(rename = "ppid")]
    pub master: Pid,
    /// The user's name.
    pub user: String,
    /// The image.
    pub image: PathBuf,
    /// Whether it has a user namespace: it can then be entered without privileges.
    #[serde(default, rename = "userns")]
    pub has_user_namespace: bool,
    /// Whether Apptainer made a cgroup for it.
    #[serde(default, rename = "cgroup")]
    pub has_cgroup: bool,
    /// Its address, where it has a network of its own; else empty.
    #[serde(default)]
    pub ip: String,
    /// Where its standard error goes.
    #[serde(rename = "logErrPath")]
    pub stderr: PathBuf,
    /// Where its standard output goes.
    #[serde(rename = "logOutPath")]
    pub stdout: PathBuf,
    /// The DMTCP checkpoint that it belongs to; else empty.
    #[serde(default)]
    pub checkpoint: String,
    /// How it was made, in base64.
    #[serde(default)]
    config: String,
}

/// The two processes that an instance stands and falls with, held so that their
/// pids cannot come to mean others.
#[derive(Debug)]
pub struct Held {
    /// The first process in the container. In a PID namespace it takes all others
    /// with it.
    pub payload: PidFd,
    /// Its parent on the host.
    pub master: PidFd,
}

impl Record {
    /// How the instance was made.
    pub fn config(&self) -> Result<Config, serde_json::Error> {
        Config::decode(&self.config)
    }

    /// Whether the instance runs.
    pub fn is_running(&self) -> io::Result<bool> {
        Ok(self.hold()?.is_some())
    }

    /// Its processes, if it runs.
    ///
    /// A pid that has passed to another process since the record was written is
    /// not taken for the instance's: the master must bear the instance's name,
    /// and the payload be its child.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        let (Some(master), Some(payload)) = (held(self.master)?, held(self.pid)?) else {
            return Ok(None);
        };
        // Asked once they are held: the record was read before.
        let is_theirs = self.is_master()? && self.is_payload()?;
        Ok(is_theirs.then_some(Held { payload, master }))
    }

    fn is_master(&self) -> io::Result<bool> {
        let title = format!("Apptainer instance: {} [{}]", self.user, self.name);
        let words = Process::command_line(self.master)?.unwrap_or_default();
        Ok(words.first().is_some_and(|word| word == title.as_bytes()))
    }

    fn is_payload(&self) -> io::Result<bool> {
        let process = Process::read(self.pid)?;
        Ok(process
            .is_some_and(|process| process.parent == self.master && process.state != State::Zombie))
    }
}

fn held(pid: Pid) -> io::Result<Option<PidFd>> {
    match PidFd::open(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // A number that cannot be a pid is EINVAL.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: Pid, master: Pid) -> Record {
        let text = format!(
            r#"{{"pid":{pid},"ppid":{master},"name":"web","user":"u","image":"/i.sif",
            "config":"e30=","logErrPath":"/e","logOutPath":"/o"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn other_processes_with_its_pids_are_not_the_instance() {
        let me = Pid::try_from(std::process::id()).unwrap();
        for (pid, master) in [(me, me), (1, me), (me, 1), (Pid::MAX, Pid::MAX), (0, -1)] {
            assert!(!record(pid, master).is_running().unwrap(), "{pid} {master}");
        }
    }
}
