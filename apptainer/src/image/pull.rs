//! Having `apptainer` fetch, convert and extract images.

use std::convert::Infallible;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::iter;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::command::{Build, GlobalOptions, Pull, Subcommand, Verbosity};
use apptainer_sys::exit::Failure;
use apptainer_sys::output::Message;
use apptainer_sys::process::{Exit, Session, Signal, Spawn, SpawnStage, Stdio};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use super::progress::Listener;
use super::scratch::Scratch;
use super::store::store_error;
use super::{ImageError, Phase, Reference, deadline};
use crate::Apptainer;
use crate::error::ApptainerFailure;
use crate::process::{OnDrop, Running, Tail, read_available};

/// A piece of work for `apptainer`, done in a directory that is removed.
pub(super) struct Work<'a> {
    pub(super) client: &'a Apptainer,
    pub(super) reference: &'a Reference,
    pub(super) scratch: &'a Arc<Scratch>,
    pub(super) limit: Duration,
    pub(super) listener: &'a Listener,
}

/// How long to wait before each attempt after the first, without end: twice as long each time,
/// and never as long as others do who were refused at the same time.
fn pauses() -> impl Iterator<Item = Duration> {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    iter::successors(Some(FIRST), |pause| Some((*pause * 2).min(LONGEST))).map(|pause| {
        // Between half of it and half as much again.
        let [random, ..] = RandomState::new().hash_one(()).to_le_bytes();
        pause / 2 + pause * u32::from(random) / 256
    })
}

/// How often a listener is told of bytes.
const INTERVAL: Duration = Duration::from_millis(200);

impl Work<'_> {
    /// Fetches what the reference names into the SIF file `target`, which is not there; again
    /// where what failed may pass.
    pub(super) async fn pull(
        &self,
        target: &Path,
        no_https: bool,
        retries: u32,
    ) -> Result<(), ImageError> {
        let deadline = deadline(self.limit);
        for pause in pauses().take(retries as usize) {
            let error = match self.pull_once(target, no_https, deadline).await {
                Err(error) if error.may_pass() && Instant::now() + pause < deadline => error,
                pulled => return pulled,
            };
            tracing::warn!(%error, ?pause, "the registry is asked again");
            self.listener.enter(Phase::Pausing);
            tokio::time::sleep(pause).await;
        }
        self.pull_once(target, no_https, deadline).await
    }

    async fn pull_once(
        &self,
        target: &Path,
        no_https: bool,
        deadline: Instant,
    ) -> Result<(), ImageError> {
        let is_plain = |host| self.client.speaks_http(host);
        let no_https = no_https || self.reference.registry().is_some_and(is_plain);
        let mut pull = Pull::new(target, self.reference.to_word(no_https));
        pull.no_https(no_https);
        // Of what has been tried before something may be there.
        pull.force(true);
        // Apptainer's own cache would keep a second copy of every image, and its
        // index is written without a lock.
        pull.disable_cache(true);
        self.run(&pull, Phase::Fetching, deadline).await
    }

    /// Extracts the image at `sif` into the directory `target`.
    pub(super) async fn extract(&self, sif: &Path, target: &Path) -> Result<(), ImageError> {
        let mut build = Build::new(target, sif);
        build.sandbox(true).disable_cache(true);
        let deadline = deadline(self.limit);
        self.run(&build, Phase::Extracting, deadline).await
    }

    /// Dropped midway it kills `apptainer`, and the directory is removed when that
    /// has ended.
    async fn run(
        &self,
        command: &impl Subcommand,
        phase: Phase,
        deadline: Instant,
    ) -> Result<(), ImageError> {
        let mut spawn = self.spawn(command)?;
        // What works for nobody takes bandwidth and room from others.
        spawn.parent_death_signal(Signal::KILL);
        self.listener.enter(phase);
        let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
        let mut running = match Running::spawn(spawn, OnDrop::Kill) {
            // That cannot be had everywhere.
            Err(error) if error.stage == SpawnStage::ParentDeath => {
                tracing::debug!(%error, "this apptainer goes on if this process is killed");
                Running::spawn(self.spawn(command)?, OnDrop::Kill)?
            }
            started => started?,
        };
        running.keep(Arc::clone(self.scratch));
        let [_, _, stderr] = running.take_pipes();
        let tail = Tail::default();
        let watched = tokio::time::timeout_at(deadline, async {
            tokio::select! {
                never = self.report_bytes() => match never {},
                exit = self.follow(&mut running, stderr, &tail) => exit,
            }
        });
        let watched = watched.await.ok();
        let in_time = watched.is_some();
        let exit = match watched {
            Some(exit) => exit,
            None => running.kill().await,
        };
        let exit = exit.map_err(store_error(self.scratch.path()))?;
        // Nothing writes to the directory any more: it is the caller's alone.
        drop(running.release());
        if !in_time {
            return Err(ImageError::TimedOut {
                reference: self.reference.to_string(),
                limit: self.limit,
            });
        }
        if exit.success() {
            return Ok(());
        }
        let stderr = tail.bytes();
        Err(ImageError::Apptainer {
            reference: self.reference.to_string(),
            failure: Box::new(ApptainerFailure {
                program,
                argv,
                exit,
                failure: Failure::from_stderr(&stderr),
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
            }),
        })
    }

    fn spawn(&self, command: &impl Subcommand) -> Result<Spawn, ImageError> {
        let global = GlobalOptions {
            verbosity: Verbosity::Normal,
            ..GlobalOptions::silent()
        };
        let mut spawn = self.client.invocation(&global, command)?;
        for (name, folder) in [("APPTAINER_CACHEDIR", "cache"), ("APPTAINER_TMPDIR", "tmp")] {
            let path = self.scratch.path().join(folder);
            fs::create_dir_all(&path).map_err(store_error(&path))?;
            spawn.set_env(name, path);
        }
        spawn
            .session(Session::NewSession)
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::pipe());
        Ok(spawn)
    }

    /// Reads what `apptainer` says until it ends.
    async fn follow(
        &self,
        running: &mut Running,
        stderr: Option<OwnedFd>,
        tail: &Tail,
    ) -> io::Result<Exit> {
        let Some(stderr) = stderr else {
            return running.wait().await;
        };
        let mut stderr = Receiver::from_owned_fd(stderr)?;
        let ended = running.ended()?;
        tokio::select! {
            read = self.read_messages(&mut stderr, tail) => read?,
            // A helper that outlives it may hold the pipe: what is in it is enough.
            ended = ended.wait() => {
                ended?;
                tail.push(&read_available(&stderr));
            }
        }
        running.wait().await
    }

    async fn read_messages(&self, stderr: &mut Receiver, tail: &Tail) -> io::Result<()> {
        const LONGEST_LINE: usize = 64 * 1024;
        let mut line = BytesMut::new();
        loop {
            let known = line.len();
            if stderr.read_buf(&mut line).await? == 0 {
                return Ok(());
            }
            tail.push(&line[known..]);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let line = line.split_to(end + 1);
                let message = Message::parse(&line);
                if let Some(phase) = message.and_then(|said| Phase::from_message(&said.text)) {
                    self.listener.enter(phase);
                }
            }
            if line.len() > LONGEST_LINE {
                line.clear();
            }
        }
    }

    /// Tells the listener how much has been written, again and again.
    async fn report_bytes(&self) -> Infallible {
        if !self.listener.is_listening() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(INTERVAL).await;
            let path = self.scratch.path().to_owned();
            if let Ok(bytes) = tokio::task::spawn_blocking(move || size_of(&path)).await {
                self.listener.wrote(bytes);
            }
        }
    }
}

/// How much is in a directory that others write to: what cannot be read is left out.
fn size_of(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
