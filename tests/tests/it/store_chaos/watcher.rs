//! Looks at a store all the time, as a reader does who takes no locks.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use apptainer::sys::sif::Sif;
use fixtures::busybox_program;

pub(super) struct Watcher {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Watching>,
}

struct Watching {
    store: PathBuf,
    /// Entries whose images have been read, by the number and time of `entry.json`.
    read: HashSet<(u64, i64, i64)>,
    seen: usize,
    violations: Vec<String>,
}

impl Watcher {
    pub(super) fn start(store: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut watching = Watching {
            store: store.join("v1"),
            read: HashSet::new(),
            seen: 0,
            violations: Vec::new(),
        };
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                watching.look();
                std::thread::sleep(Duration::from_millis(2));
            }
            watching.look();
            watching
        });
        Self { is_over, thread }
    }

    /// How many entries were looked at, and what was wrong with them.
    pub(super) fn end(self) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::SeqCst);
        let watching = self.thread.join().unwrap();
        println!("{} images read", watching.read.len());
        (watching.seen, watching.violations)
    }
}

impl Watching {
    fn look(&mut self) {
        for form in ["images", "sandboxes"] {
            for entry in fs::read_dir(self.store.join(form)).into_iter().flatten() {
                // The directory goes away while it is read.
                let Ok(entry) = entry else { continue };
                let path = entry.path();
                // For as long as it is open nothing else has its number.
                let Ok(folder) = File::open(&path) else {
                    continue;
                };
                self.seen += 1;
                let Err(reason) = self.check(form, &path) else {
                    continue;
                };
                if is_still(&path, &folder) {
                    let violation = format!("{}: {reason}", path.display());
                    self.violations.push(violation);
                }
            }
        }
    }

    fn check(&mut self, form: &str, folder: &Path) -> Result<(), String> {
        let record = folder.join("entry.json");
        let bytes = fs::read(&record).map_err(|error| format!("entry.json: {error}"))?;
        let entry: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| format!("entry.json, {} bytes: {error}", bytes.len()))?;
        if form == "sandboxes" {
            return check_sandbox(&folder.join("root"));
        }
        let path = folder.join("image.sif");
        Sif::open(&path).map_err(|error| error.to_string())?;
        let found = fs::metadata(&path).map_err(|error| error.to_string())?;
        let identity = (found.ino(), found.ctime(), found.ctime_nsec());
        if self.read.contains(&identity) {
            return Ok(());
        }
        let expected = entry["sif"].as_str().ok_or("it has no digest")?;
        let actual = digest(&path).map_err(|error| error.to_string())?;
        if expected.strip_prefix("sha256:") != Some(&actual) {
            return Err(format!("its digest is {actual}, not {expected}"));
        }
        self.read.insert(identity);
        Ok(())
    }
}

fn is_still(path: &Path, folder: &File) -> bool {
    let [found, opened] = [fs::metadata(path), folder.metadata()];
    matches!((found, opened), (Ok(found), Ok(opened)) if found.ino() == opened.ino())
}

fn check_sandbox(root: &Path) -> Result<(), String> {
    let length = |path: &Path| {
        let found = fs::metadata(path);
        found.map_err(|error| format!("{}: {error}", path.display()))
    };
    let [expected, actual] =
        [busybox_program(), root.join("bin/busybox")].map(|path| length(&path));
    if expected?.len() != actual?.len() {
        return Err("its busybox is not whole".to_owned());
    }
    length(&root.join("name")).map(drop)
}

fn digest(path: &Path) -> io::Result<String> {
    let hashed = Command::new("sha256sum")
        .stdin(Stdio::from(File::open(path)?))
        .output()?;
    let said = String::from_utf8_lossy(&hashed.stdout);
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}
