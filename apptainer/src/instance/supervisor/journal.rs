//! What a supervisor notes on disk of its instances, for whoever comes after it was killed.
//!
//! `CONFIGDIR/apptainer-rs/supervisors/HOST/SUPERVISOR/`, where `lock` is held for as long as the
//! supervisor lives, and `ID.json` is there from before an instance is started until nothing of
//! it is left. What is noted is written elsewhere and renamed, so it is whole or not there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use apptainer_sys::process::{Pid, Process, State};
use apptainer_sys::state::{ConfigDir, host_name};
use serde::{Deserialize, Serialize};

use crate::instance::Spec;
use crate::instance::limits::{EnclosureRecord, Site};
use crate::instance::remains::Naming;
use crate::lock::{FileLock, Locking};

/// How long the lock of a supervisor that was killed may be held by what it was about to start,
/// which has all that it had until it is executed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The journals of all supervisors on this host.
pub(super) fn folder(config: &ConfigDir) -> io::Result<PathBuf> {
    let all = config.path().join("apptainer-rs/supervisors");
    Ok(all.join(host_name()?))
}

/// The journal of one supervisor, while that lives.
#[derive(Debug)]
pub(super) struct Journal {
    lock: FileLock,
    /// Let go of after the lock, which lies in it.
    folder: Folder,
}

/// The folder of a journal. Dropped, it is removed if there is nothing in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What is noted of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Which it is, of all that ever had its name.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    pub(super) naming: Naming,
    /// The start of the machine that it belongs to.
    pub(super) boot: String,
    /// Its folder on this node.
    pub(super) room: PathBuf,
    /// What it was started by.
    pub(super) spec: Spec,
    /// The numbers of its ports.
    pub(super) ports: Vec<(String, u16)>,
    /// Where what is to be around it is made.
    pub(super) site: Option<Site>,
    /// What is around it, once that is made.
    pub(super) enclosure: Option<EnclosureRecord>,
    /// Whether it was paused.
    pub(super) is_paused: bool,
    /// How long the log of its standard error was before it.
    #[serde(default)]
    pub(super) log_length: u64,
    /// How much earlier ones of its name had written.
    #[serde(default)]
    pub(super) log_starts: [u64; 2],
    /// What it is, once it has been started.
    #[serde(default)]
    pub(super) started: Option<Started>,
}

/// What is noted once an instance runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Started {
    /// The agent's pid on the host, and when that began, in clock ticks since boot.
    pub(super) agent: Option<(Pid, u64)>,
    /// The same of what serves its file system.
    #[serde(default)]
    pub(super) servers: Vec<(Pid, u64)>,
    /// The number of its payload among the agent's commands, if it has one.
    pub(super) payload: Option<u64>,
}

/// What it takes to end an instance: noted by every version.
#[derive(Deserialize)]
struct Core {
    id: String,
    name: String,
    naming: Naming,
    room: PathBuf,
    #[serde(default)]
    site: serde_json::Value,
}

impl Core {
    /// It as a note of an instance that was never started, and so is not watched again.
    fn read(text: &[u8]) -> serde_json::Result<Entry> {
        let core: Self = serde_json::from_slice(text)?;
        Ok(Entry {
            id: core.id,
            name: core.name,
            naming: core.naming,
            boot: String::new(),
            room: core.room,
            spec: Spec::new(""),
            ports: Vec::new(),
            site: serde_json::from_value(core.site).unwrap_or_default(),
            enclosure: None,
            is_paused: false,
            log_length: 0,
            log_starts: [0; 2],
            started: None,
        })
    }
}

impl Journal {
    /// Opens the journal of the supervisor of this name; `None` while another has it.
    pub(super) fn open(config: &ConfigDir, name: &str) -> io::Result<Option<Self>> {
        let folder = folder(config)?.join(name);
        Self::open_at(&folder)
    }

    fn open_at(folder: &Path) -> io::Result<Option<Self>> {
        loop {
            fs::create_dir_all(folder)?;
            match Self::lock(folder.to_owned()) {
                // Whoever had it before has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                locked => return locked,
            }
        }
    }

    /// The same of a folder that is there; an error of the kind [`io::ErrorKind::NotFound`] where
    /// it is not any more.
    pub(super) fn lock(folder: PathBuf) -> io::Result<Option<Self>> {
        // The folder is this node's own.
        let locking = Locking::on_this_node(&folder)?;
        let path = folder.join("lock");
        let asked = Instant::now();
        let lock = loop {
            if let Some(lock) = FileLock::try_take(&path, locking)? {
                break lock;
            }
            if !is_killed(&path, locking) || asked.elapsed() > PATIENCE {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let folder = Folder(folder);
        let journal = Self { lock, folder };
        journal.sign(std::process::id());
        for file in fs::read_dir(journal.folder())? {
            let path = file?.path();
            // What was being written when its writer was killed.
            let name = path.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(b".tmp") {
                remove_if_there(&path)?;
            }
        }
        Ok(Some(journal))
    }

    /// Says whose it is. Where there is no room for that, whoever finds it locked takes us to be
    /// there.
    fn sign(&self, pid: u32) {
        let _ = self.lock.write(pid.to_string().as_bytes());
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder().join(format!("{id}.json"))
    }

    /// Notes what is so now.
    pub(super) fn note(&self, entry: &Entry) -> io::Result<()> {
        // Not synced: what it tells of does not outlive the machine's stop, nor need it.
        let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
        serde_json::to_writer(&mut file, entry)?;
        file.flush()?;
        file.persist(self.path(&entry.id))?;
        Ok(())
    }

    /// Strikes out what is no more.
    pub(super) fn strike(&self, id: &str) -> io::Result<()> {
        remove_if_there(&self.path(id))
    }

    /// All that is noted. Of what another version has noted in its own way there is as much as it
    /// takes to end it. What cannot be read at all was left by a machine that stopped, and is
    /// removed.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(self.folder())? {
            let path = file?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let text = fs::read(&path)?;
            match serde_json::from_slice(&text).or_else(|_| Core::read(&text)) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "removing a damaged note of an instance");
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(entries)
    }
}

/// Whether whoever has written to this lock is no more.
fn is_killed(lock: &Path, locking: Locking) -> bool {
    let written = FileLock::read(lock, locking).unwrap_or_default();
    let written = String::from_utf8(written).unwrap_or_default();
    let Ok(pid) = written.parse() else {
        return false;
    };
    let process = Process::read(pid);
    process.is_ok_and(|process| process.is_none_or(|process| process.state == State::Zombie))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Which start of the machine this is.
pub(super) fn boot() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::lock(folder.path().to_owned()).unwrap().unwrap();
        (folder, journal)
    }

    fn entry() -> Entry {
        let text =
            r#"{"id": "a-1", "name": "a", "naming": "generated", "room": "/room", "new": 1}"#;
        Core::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_noted_is_found_until_it_is_struck_out() {
        let (_folder, journal) = journal();
        journal.note(&entry()).unwrap();
        let found = journal.entries().unwrap();
        assert_eq!(found[0].id, "a-1");
        journal.strike("a-1").unwrap();
        assert!(journal.entries().unwrap().is_empty());
    }

    #[test]
    fn a_lock_that_outlives_its_holder_is_waited_for() {
        let (folder, journal) = journal();
        let again = || Journal::open_at(folder.path()).unwrap();
        assert!(again().is_none());
        let mut killed = std::process::Command::new("true").spawn().unwrap();
        killed.wait().unwrap();
        journal.sign(killed.id());
        let held = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(journal);
        });
        assert!(again().is_some());
        held.join().unwrap();
    }

    #[test]
    fn what_another_version_has_noted_can_be_ended() {
        let (_folder, journal) = journal();
        journal.note(&entry()).unwrap();
        let path = journal.path("a-1");
        let text = fs::read_to_string(&path).unwrap();
        let newer = text.replace("\"image\"", "\"picture\"");
        assert_ne!(newer, text);
        fs::write(&path, newer).unwrap();
        let found = journal.entries().unwrap();
        assert_eq!(found[0].room, PathBuf::from("/room"));
        assert!(found[0].started.is_none());
        fs::write(&path, "{").unwrap();
        assert!(journal.entries().unwrap().is_empty());
        assert!(!path.exists());
    }
}
