//! The programs that are killed, and what they say before.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use apptainer::image::Locking;
use fixtures::World;

use super::images::Images;
use super::worker::{CONFIG, EXPORTS, IMAGES, LEASES, SEED, STORE};
use super::{BYSTANDERS, WORKERS};
use crate::dice::Dice;

pub(super) struct Workers {
    folder: PathBuf,
    store: PathBuf,
    images: String,
    locking: Locking,
    running: Vec<Option<Child>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    /// How often each was done.
    operations: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Workers {
    pub(super) fn start(world: &World, images: &Images, locking: Locking, dice: &mut Dice) -> Self {
        let mut workers = Self {
            folder: world.folder().to_owned(),
            store: world.client().store_dir().to_owned(),
            images: images.to_text(),
            locking,
            running: (0..WORKERS + BYSTANDERS).map(|_| None).collect(),
            readers: Vec::new(),
            said: Arc::default(),
        };
        workers.restart(dice);
        workers
    }

    /// Starts those that do not run.
    pub(super) fn restart(&mut self, dice: &mut Dice) {
        for index in 0..self.running.len() {
            if self.running[index].is_none() {
                let worker = self.spawn(dice.next());
                self.running[index] = Some(worker);
            }
        }
    }

    fn spawn(&mut self, seed: u64) -> Child {
        // Ends with this program, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["store_chaos::worker::worker", "--exact", "--ignored"])
            .arg("--nocapture")
            .env(STORE, &self.store)
            .env(CONFIG, self.folder.join("config"))
            .env(IMAGES, &self.images)
            .env(EXPORTS, self.folder.join("exports"))
            .env(SEED, seed.to_string())
            .env("TMPDIR", self.folder.join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if self.locking == Locking::Lease {
            command.env(LEASES, "1");
        }
        let mut worker = command.spawn().unwrap();
        let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let said = Arc::clone(&self.said);
        self.readers.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                said.lock().unwrap().hear(&line);
            }
        }));
        worker
    }

    /// Kills this one, or none if it has been killed already.
    pub(super) fn kill_one(&mut self, index: usize) {
        if let Some(mut worker) = self.running[index].take() {
            // A worker ends by itself only when it fails.
            if let Some(status) = worker.try_wait().unwrap() {
                let failure = format!("a worker ended: {status}");
                self.said.lock().unwrap().failures.push(failure);
                return;
            }
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
    }

    /// Kills all, and tells what was done and what failed.
    pub(super) fn end(mut self) -> (BTreeMap<String, usize>, Vec<String>) {
        for index in 0..self.running.len() {
            self.kill_one(index);
        }
        for reader in self.readers {
            reader.join().unwrap();
        }
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        (said.operations, said.failures)
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        if let Some(operation) = line.strip_prefix("did ") {
            *self.operations.entry(operation.to_owned()).or_default() += 1;
        } else if line.starts_with("failed ") {
            self.failures.push(line.to_owned());
        }
    }
}
