//! Having `apptainer` make, fetch and extract images.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use apptainer_sys::command::{Build, GlobalOptions, Pull, Subcommand, Verbosity};
use apptainer_sys::output::Message;
use apptainer_sys::process::{Spawn, Stdio};
use bytes::BytesMut;
use tokio::time::Instant;

use super::patience::Patience;
use super::progress::{INTERVAL, Listener};
use super::store::{Scratch, size_of, store_error};
use super::{Conversion, ImageError, Phase, Platform, Reference};
use crate::Apptainer;
use crate::error::ApptainerFailure;
use crate::process::{Keep, Run, RunError};

/// A piece of work for `apptainer`, done in a directory that is removed.
pub(super) struct Work<'a> {
    pub(super) client: &'a Apptainer,
    pub(super) platform: &'a Platform,
    pub(super) scratch: &'a Arc<Scratch>,
    /// Where images are unpacked, if that is elsewhere.
    pub(super) tmp: Option<&'a Arc<Scratch>>,
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
        source: impl AsRef<OsStr>,
        conversion: Conversion,
    ) -> Result<(), ImageError> {
        let deadline = self.patience.deadline;
        let Some(compression) = conversion.compression else {
            let mut pull = Pull::new(target, &source);
            pull.disable_cache(true);
            self.for_platform(|arch| {
                pull.arch(arch);
            });
            return self.run(&pull, Phase::Unpacking, deadline).await;
        };
        let mut build = Build::new(target, &source);
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

    /// Builds the SIF file `target` by the file `definition`.
    pub(super) async fn build(
        &self,
        target: &Path,
        definition: &Path,
        conversion: Conversion,
    ) -> Result<(), ImageError> {
        let mut build = Build::new(target, definition);
        build.disable_cache(true);
        // Without this a label of the base would count, and not the definition's.
        build.force(true);
        if let Some(compression) = conversion.compression {
            build.mksquashfs_args(compression.to_words());
        }
        self.run(&build, Phase::Unpacking, self.patience.deadline)
            .await
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
        self.listener.enter(phase);
        let mut messages = Messages::new(self.listener);
        let run = Run {
            deadline,
            stdout: Keep::End,
            heard: &mut |piece| messages.hear(piece),
        };
        let ran = run.run(
            || self.spawn(command),
            (Arc::clone(self.scratch), self.tmp.cloned()),
        );
        let ran = tokio::select! {
            never = self.report_bytes() => match never {},
            ran = ran => ran,
        };
        let ended = ran.map_err(|error| match error {
            RunError::Make(error) => error,
            RunError::Spawn(error) => error.into(),
            RunError::Io(error) => store_error(self.scratch.path())(error),
            RunError::TimedOut => self.patience.timed_out(),
        })?;
        if ended.exit.success() {
            return Ok(());
        }
        Err(ImageError::Apptainer {
            reference: self.patience.subject.to_string(),
            failure: Box::new(ApptainerFailure {
                stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
                ..ended.into_failure()
            }),
        })
    }

    fn spawn(&self, command: &impl Subcommand) -> Result<Spawn, ImageError> {
        let global = GlobalOptions {
            verbosity: Verbosity::Normal,
            ..GlobalOptions::silent()
        };
        let mut spawn = self.client.invocation(&global, command)?;
        let tmp = self.tmp.unwrap_or(self.scratch);
        let folders = [
            ("APPTAINER_CACHEDIR", self.scratch.path().join("cache")),
            ("APPTAINER_TMPDIR", tmp.path().join("tmp")),
        ];
        for (name, path) in folders {
            fs::create_dir_all(&path).map_err(store_error(&path))?;
            spawn.set_env(name, path);
        }
        spawn.current_dir(self.scratch.path()).stdout(Stdio::pipe());
        Ok(spawn)
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

/// What `apptainer` says, line by line.
struct Messages<'a> {
    listener: &'a Listener,
    line: BytesMut,
}

impl<'a> Messages<'a> {
    fn new(listener: &'a Listener) -> Self {
        Self {
            listener,
            line: BytesMut::new(),
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        const LONGEST_LINE: usize = 64 * 1024;
        self.line.extend_from_slice(piece);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line = self.line.split_to(end + 1);
            let message = Message::parse(&line);
            if let Some(phase) = message.and_then(|said| Phase::from_message(&said.text)) {
                self.listener.enter(phase);
            }
        }
        if self.line.len() > LONGEST_LINE {
            self.line.clear();
        }
    }
}
