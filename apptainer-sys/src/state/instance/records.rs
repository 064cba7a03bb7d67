//! The directory of records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Record;
use crate::deadline::Deadline;
use crate::state::ConfigDir;
use crate::state::config_dir::{host_name, this_user};

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

    /// The same, but waits while it is malformed, at most for `limit`: the record
    /// may be half written.
    ///
    /// Blocks. One that stays so was left by a writer that was killed.
    pub fn read_whole(&self, name: &str, limit: Duration) -> Result<Option<Record>, RecordError> {
        const PAUSE: Duration = Duration::from_millis(1);
        let deadline = Deadline::after(limit);
        loop {
            match self.read(name) {
                Err(RecordError::Malformed { .. }) if !deadline.has_passed() => {
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
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
    fn a_record_that_is_being_written_is_waited_for() {
        let config = tempfile::tempdir().unwrap();
        let records = records(config.path());
        fs::create_dir_all(records.folder("web")).unwrap();
        let path = records.folder("web").join("web.json");
        let text = r#"{"pid":7,"ppid":6,"name":"web","user":"u","image":"/i.sif",
            "logErrPath":"/e","logOutPath":"/o"}"#;
        fs::write(&path, &text[..20]).unwrap();
        let limit = Duration::from_millis(20);
        let left_so = records.read_whole("web", limit);
        assert!(matches!(left_so, Err(RecordError::Malformed { .. })));
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            fs::write(path, text).unwrap();
        });
        let record = records.read_whole("web", Duration::from_secs(60)).unwrap();
        assert_eq!(record.unwrap().pid, 7);
        writer.join().unwrap();
    }

    #[test]
    fn no_instances_are_no_error() {
        let config = tempfile::tempdir().unwrap();
        assert!(records(config.path()).names().unwrap().is_empty());
    }
}
