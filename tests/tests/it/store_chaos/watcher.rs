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
    exports: PathBuf,
    /// Entries whose images have been read, by the number and time of `entry.json`.
    read: HashSet<(u64, i64, i64)>,
    seen: usize,
    violations: Vec<String>,
}

impl Watcher {
    pub(super) fn start(store: &Path, exports: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut watching = Watching {
            store: store.join("v1"),
            exports: exports.to_owned(),
            read: HashSet::new(),
            seen: 0,
            violations: Vec::new(),
        };
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                watching.look();
                watching.look_at_exports();
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

    /// What was taken out of the store. What killed programs left beside that has a name of its
    /// own, and begins with a dot.
    fn look_at_exports(&mut self) {
        for entry in fs::read_dir(&self.exports).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_left = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(opened) = File::open(&path) else {
                continue;
            };
            self.seen += 1;
            let checked = match path.extension().and_then(|kind| kind.to_str()) {
                _ if is_left => continue,
                Some("sif") => Sif::open(&path)
                    .map(drop)
                    .map_err(|error| error.to_string()),
                Some("tar") => check_archive(&path),
                _ => check_layout(&path),
            };
            if let Err(reason) = checked
                && is_still(&path, &opened)
            {
                self.violations
                    .push(format!("{}: {reason}", path.display()));
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

/// It ends as tar files do, with two blocks of zeros.
fn check_archive(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let end = bytes.len().checked_sub(1024).ok_or("it is too short")?;
    if bytes[end..].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(format!(
        "it ends after {} bytes, as no archive does",
        bytes.len()
    ))
}

/// What its index leads to is there.
fn check_layout(folder: &Path) -> Result<(), String> {
    let json = |path: PathBuf| -> Result<serde_json::Value, String> {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        folder.join("blobs").join(digest.replace(':', "/"))
    };
    let index = json(folder.join("index.json"))?;
    let manifest = json(blob(&index["manifests"][0]))?;
    let layer = &manifest["layers"][0];
    let found = fs::metadata(blob(layer)).map_err(|error| format!("its layer: {error}"))?;
    if Some(found.len()) == layer["size"].as_u64() {
        return Ok(());
    }
    Err(format!("its layer has {} bytes", found.len()))
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
