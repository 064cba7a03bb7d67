//! The programs, and what they say.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use apptainer::instance::InstanceError;
use apptainer::sys::process::Pid;
use fixtures::World;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::worker::{FOLDER, IMAGE, MAIN, NAME, SEED};
use super::{GUARD, WORKERS};
use crate::dice::Dice;

pub(super) struct Workers {
    folder: PathBuf,
    /// By their pids, with their numbers.
    running: HashMap<Pid, (usize, Child)>,
    readers: Vec<std::thread::JoinHandle<()>>,
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) cycles: u64,
    /// How many programs had opened their supervisors.
    opened: usize,
    /// How often each thing was done.
    pub(super) done: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
}

/// What the names of all instances of this test begin with.
pub(super) fn prefix() -> String {
    let main = std::env::var(MAIN).unwrap_or_else(|_| std::process::id().to_string());
    format!("c{main}x")
}

impl Workers {
    pub(super) fn start(world: &World, dice: &mut Dice) -> Self {
        let mut workers = Self {
            folder: world.folder().to_owned(),
            running: HashMap::new(),
            readers: Vec::new(),
            said: Arc::default(),
        };
        workers.restart(dice);
        workers
    }

    /// Starts those that do not run.
    pub(super) fn restart(&mut self, dice: &mut Dice) {
        for number in 0..WORKERS {
            if self.running.values().all(|(other, _)| *other != number) {
                let worker = self.spawn(number, dice.next());
                let pid = Pid::try_from(worker.id()).unwrap();
                self.running.insert(pid, (number, worker));
            }
        }
    }

    fn spawn(&mut self, number: usize, seed: u64) -> Child {
        // Ends with this program, however that ends.
        let mut worker = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["instances_chaos::worker::worker", "--exact", "--ignored"])
            .arg("--nocapture")
            .env(FOLDER, &self.folder)
            .env(NAME, format!("{}{number}", prefix()))
            .env(MAIN, std::process::id().to_string())
            .env(IMAGE, fixtures::busybox_sif())
            .env(SEED, seed.to_string())
            .env("TMPDIR", self.folder.join("tmp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let said = Arc::clone(&self.said);
        self.readers.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                said.lock().unwrap().hear(&line);
            }
        }));
        worker
    }

    pub(super) fn pids(&self) -> Vec<Pid> {
        self.running.keys().copied().collect()
    }

    pub(super) fn cycles(&self) -> u64 {
        self.said.lock().unwrap().cycles
    }

    /// Whether all have their supervisors: whoever reaps keeps one from being opened meanwhile.
    pub(super) fn have_opened(&self) -> bool {
        self.said.lock().unwrap().opened == self.readers.len()
    }

    pub(super) fn fail(&self, failure: String) {
        self.said.lock().unwrap().failures.push(failure);
    }

    /// What reaping has come to: it takes away nothing of who lives.
    pub(super) fn hear_of(&self, reaped: Result<Vec<String>, InstanceError>) {
        let reaped = match reaped {
            Ok(reaped) => reaped,
            Err(error) => return self.fail(format!("cannot reap: {error}")),
        };
        let mut said = self.said.lock().unwrap();
        *said.done.entry("reaped".into()).or_default() += reaped.len();
        let living = self.running.values();
        let living: Vec<_> = living
            .map(|(number, _)| format!("{}{number}-", prefix()))
            .collect();
        for name in reaped {
            if living.iter().any(|program| name.starts_with(program)) {
                said.failures
                    .push(format!("reaped {name}, of one that lives"));
            }
        }
    }

    /// Kills one of them, and waits until it is gone.
    pub(super) fn kill_one(&mut self, dice: &mut Dice) {
        let mut pids = self.pids();
        pids.sort_unstable();
        if pids.is_empty() {
            return;
        }
        let pid = *dice.one_of(&pids);
        let of_nix = nix::unistd::Pid::from_raw(pid);
        kill(of_nix, Signal::SIGKILL).unwrap();
        let status = waitpid(of_nix, None).unwrap();
        self.running.remove(&pid);
        if !matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)) {
            self.fail(format!("a program ended: {status:?}"));
        }
    }

    /// Waits for whatever has ended, as init would: also for what others have left.
    pub(super) fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(status) => {
                    let pid = status.pid().map(nix::unistd::Pid::as_raw);
                    let program = pid.and_then(|pid| self.running.remove(&pid));
                    if program.is_some() && status != WaitStatus::Exited(status.pid().unwrap(), 0) {
                        self.fail(format!("a program ended: {status:?}"));
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Has all finish what they do, and tells what was done and what failed.
    pub(super) async fn end(mut self) -> Said {
        for (_, worker) in self.running.values_mut() {
            drop(worker.stdin.take());
        }
        let deadline = Instant::now() + GUARD;
        while !self.running.is_empty() && Instant::now() < deadline {
            self.reap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for (number, worker) in self.running.values_mut() {
            let failure = format!("program {number} does not end");
            self.said.lock().unwrap().failures.push(failure);
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
        self.running.clear();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.reap();
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        if line.ends_with("did recovery") {
            self.opened += 1;
        } else if let Some(done) = line.strip_prefix("did ") {
            self.cycles += 1;
            *self.done.entry(done.to_owned()).or_default() += 1;
        } else if line.starts_with("failed ") {
            self.cycles += 1;
            self.failures.push(line.to_owned());
            println!("{line}");
        }
    }
}
