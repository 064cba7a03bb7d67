//! Having `apptainer` make, fetch and extract images.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use apptainer_sys::command::{Build, GlobalOptions, Pull, Subcommand, Verbosity};
use apptainer_sys::exit::Failure;
use apptainer_sys::output::Message;
use apptainer_sys::process::{Exit, Session, Signal, Spawn, SpawnStage, Stdio};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use super::patience::Patience;
use super::progress::{INTERVAL, Listener};
use super::store::{Scratch, size_of, store_error};
use super::{Conversion, ImageError, Phase, Platform, Reference};
use crate::Apptainer;
use crate::error::ApptainerFailure;
use crate::process::{OnDrop, Running, Tail, read_available};

/// A piece of work for `apptainer`, done in a directory that is removed.
pub(super) struct Work<'a> {
    pub(super) client: &'a Apptainer,
    pub(super) platform: &'a Platform,
    pub(super) scratch: &'a Arc<Scratch>,
    pub(super) patience: Patience<'a>,
    pub(super) listener: &'a Listener,
}

impl Work<'_> {
    /// Fetches what a reference names into the SIF file `target`, which is not there; again
    /// where what failed may pass.
    pub(super) async fn pull(
        &self,
        target: &Path,
        reference: &Reference,
        no_https: bool,
    ) -> Result<(), ImageError> {
        let mut pull = Pull::new(target, reference.to_word(no_https));
        pull.no_https(no_https);
        // Of what has been tried before something may be there.
        pull.force(true);
        // Apptainer's own cache would keep a second copy of every image, and its
        // index is written without a lock.
        pull.disable_cache(true);
        self.for_platform(|arch| {
            pull.arch(arch);
        });
        self.patience
            .attempt(|deadline| self.run(&pull, Phase::Fetching, deadline))
            .await
    }

    /// Makes the SIF file `target` of `source`, such as a layout that lies in the directory.
    pub(super) async fn make(
        &self,
        target: &Path,
        source: &str,
        conversion: Conversion,
    ) -> Result<(), ImageError> {
        let deadline = self.patience.deadline;
        let Some(compression) = conversion.compression else {
            let mut pull = Pull::new(target, source);
            pull.disable_cache(true);
            self.for_platform(|arch| {
                pull.arch(arch);
            });
            return self.run(&pull, Phase::Unpacking, deadline).await;
        };
        let mut build = Build::new(target, source);
        build.disable_cache(true);
        build.mksquashfs_args(compression.to_words());
        self.for_platform(|arch| {
            build.arch(arch);
        });
        self.run(&build, Phase::Unpacking, deadline).await
    }

    /// Where that is not this machine's, which is understood.
    fn for_platform(&self, mut set: impl FnMut(&str)) {
        if *self.platform != Platform::host() {
            set(self.platform.architecture());
        }
    }

    /// Extracts the SIF file into a sandbox at `target`, which is not there.
    pub(super) async fn extract(&self, sif: &Path, target: &Path) -> Result<(), ImageError> {
        let mut build = Build::new(target, sif);
        build.sandbox(true).disable_cache(true);
        self.run(&build, Phase::Extracting, self.patience.deadline)
            .await
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
            return Err(self.patience.timed_out());
        }
        if exit.success() {
            return Ok(());
        }
        let stderr = tail.bytes();
        Err(ImageError::Apptainer {
            reference: self.patience.subject.to_string(),
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
            .current_dir(self.scratch.path())
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
