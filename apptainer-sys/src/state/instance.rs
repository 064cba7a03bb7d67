//! The records that Apptainer keeps of running instances.
//!
//! `CONFIGDIR/instances/app/HOST/USER/NAME/NAME.json`, and beside it in
//! `instances/logs` what the instance prints. Reading them here, unlike
//! `apptainer instance list`, removes none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigDir;
use super::config_dir::{host_name, this_user};
use crate::process::{Pid, Process, State};

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
    /// Its address, where it has a network of its own; else empty.
    #[serde(default)]
    pub ip: String,
    /// Where its standard error goes.
    #[serde(rename = "logErrPath")]
    pub stderr: PathBuf,
    /// Where its standard output goes.
    #[serde(rename = "logOutPath")]
    pub stdout: PathBuf,
}

impl Record {
    /// Whether the instance runs: its master is there, and is a master.
    pub fn is_running(&self) -> io::Result<bool> {
        let Some(process) = Process::read(self.master)? else {
            return Ok(false);
        };
        if process.state == State::Zombie {
            return Ok(false);
        }
        match Process::command_line(self.master) {
            Ok(words) => Ok(words
                .first()
                .is_some_and(|title| title.starts_with(MASTER_TITLE))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How a master names itself: `Apptainer instance: USER [NAME]`.
const MASTER_TITLE: &[u8] = b"Apptainer instance";

/// A record, or the directory of records, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file system refused.
    #[error("read the instance record {}: {source}", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a record. Apptainer writes them in place, so one that is being
    /// written may look so for a moment.
    #[error("read the instance record {}: {source}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The records of this user on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    folder: PathBuf,
    logs: PathBuf,
}

impl Records {
    /// Those below `config`.
    pub fn of(config: &ConfigDir) -> io::Result<Self> {
        let instances = config.path().join("instances");
        let owner = Path::new(&host_name()?).join(this_user()?.name);
        Ok(Self {
            folder: instances.join("app").join(&owner),
            logs: instances.join("logs").join(&owner),
        })
    }

    /// The directory that Apptainer makes for one instance.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where an instance's standard output and standard error go.
    ///
    /// Apptainer appends to these files and never removes them.
    pub fn logs(&self, name: &str) -> [PathBuf; 2] {
        ["out", "err"].map(|ending| self.logs.join(format!("{name}.{ending}")))
    }

    /// The record of one instance; `None` when there is none.
    pub fn read(&self, name: &str) -> Result<Option<Record>, RecordError> {
        let path = self.folder(name).join(format!("{name}.json"));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(RecordError::Malformed { path, source }),
        }
    }

    /// The names that there are directories for.
    pub fn names(&self) -> Result<Vec<String>, RecordError> {
        let failed = |source| RecordError::Read {
            path: self.folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether Apptainer takes `name` for an instance: letters, digits, dots,
/// underscores and dashes. As a file name it also has a longest length.
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // 255 bytes for a file name, less the `.json` behind it.
    (1..=250).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(folder: &Path) -> Records {
        Records::of(&ConfigDir::at(folder)).unwrap()
    }

    #[test]
    fn a_record_is_found_by_its_name() {
        let config = tempfile::tempdir().unwrap();
        let records = records(config.path());
        assert!(records.read("web").unwrap().is_none());
        fs::create_dir_all(records.folder("web")).unwrap();
        let path = records.folder("web").join("web.json");
        let text = r#"{"pid":7,"ppid":6,"name":"web","user":"u","image":"/i.sif","config":"e30=",
            "userns":true,"ip":"","logErrPath":"/e","logOutPath":"/o","checkpoint":"","sharensMode":false}"#;
        fs::write(&path, text).unwrap();
        let record = records.read("web").unwrap().unwrap();
        assert_eq!((record.pid, record.master), (7, 6));
        assert_eq!(records.names().unwrap(), ["web"]);
    }

    #[test]
    fn a_record_half_written_is_said_to_be_malformed() {
        let config = tempfile::tempdir().unwrap();
        let records = records(config.path());
        fs::create_dir_all(records.folder("web")).unwrap();
        fs::write(records.folder("web").join("web.json"), "{\"pid\":").unwrap();
        assert!(matches!(
            records.read("web"),
            Err(RecordError::Malformed { .. })
        ));
    }

    #[test]
    fn no_instances_are_no_error() {
        let config = tempfile::tempdir().unwrap();
        assert!(records(config.path()).names().unwrap().is_empty());
    }

    #[test]
    fn names_are_checked_as_apptainer_does() {
        for name in ["a", "web-1.2_3", "0"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", "a/b", "a b", "ä", ".", "..", "-a", "a\n"] {
            assert!(!is_valid_name(name), "{name}");
        }
        assert!(!is_valid_name(&"a".repeat(251)));
    }
}
