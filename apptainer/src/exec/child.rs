//! A command that runs.

use std::ffi::OsString;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use apptainer_sys::exit::Failure;
use apptainer_sys::process::{Exit, Pid, Signal, Spawn};
use bytes::{Bytes, BytesMut};

use super::{
    ChildStderr, ChildStdin, ChildStdout, Chunk, ExecError, ExitStatus, Mechanism, Output,
    OutputStream, Source,
};
use crate::error::ApptainerFailure;
use crate::process::{OnDrop, Root, Running, Tail};

/// A command that runs, or has ended.
///
/// Dropped before that, it is killed with all that it started, unless
/// [`kill_on_drop`](super::Command::kill_on_drop) was turned off.
#[derive(Debug)]
pub struct Child {
    running: Running,
    program: PathBuf,
    argv: Vec<OsString>,
    tail: Tail,
    watchdog: Option<Watchdog>,
    /// Standard error, where the caller wants none of it.
    discarded: Option<Arc<Mutex<ChildStderr>>>,
    /// Its standard input, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
}

/// Ends a command whose time is over.
#[derive(Debug)]
struct Watchdog {
    has_fired: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Child {
    pub(super) fn spawn(spawn: Spawn, on_drop: OnDrop) -> Result<Self, ExecError> {
        let program = spawn.program().to_owned();
        let argv = spawn.argv().to_vec();
        let tail = Tail::default();
        let mut running = Running::spawn(spawn, on_drop)?;
        let [stdin, stdout, stderr] = running.take_pipes();
        Ok(Self {
            running,
            program,
            argv,
            watchdog: None,
            discarded: None,
            stdin: stdin.map(ChildStdin::new).transpose()?,
            stdout: stdout.map(ChildStdout::new).transpose()?,
            stderr: stderr
                .map(|fd| ChildStderr::new(fd, tail.clone()))
                .transpose()?,
            tail,
        })
    }

    /// Reads standard error for nobody but the error message.
    pub(super) fn discard_stderr(&mut self) {
        let Some(stderr) = self.stderr.take() else {
            return;
        };
        let stderr = Arc::new(Mutex::new(stderr));
        self.discarded = Some(Arc::clone(&stderr));
        tokio::spawn(async move {
            let read = |context: &mut Context<'_>| {
                let mut buffer = BytesMut::with_capacity(8 * 1024);
                lock(&stderr).poll_chunk(context, &mut buffer)
            };
            while matches!(poll_fn(read).await, Ok(1..)) {}
        });
    }

    pub(super) fn end_after(&mut self, limit: Duration, grace: Duration) -> Result<(), ExecError> {
        let Some(root) = self.running.root() else {
            return Ok(());
        };
        let root = root.try_clone()?;
        let has_fired = Arc::new(AtomicBool::new(false));
        let fired = Arc::clone(&has_fired);
        let task = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if root.ended().pidfd().has_ended().unwrap_or(true) {
                return;
            }
            fired.store(true, Ordering::Release);
            if let Err(error) = root.end(grace).await {
                tracing::warn!(%error, pid = root.pid(), "cannot kill a command whose time is over");
            }
        });
        self.watchdog = Some(Watchdog { has_fired, task });
        Ok(())
    }

    /// The pid of the `apptainer` that runs it, on the host; `None` once it has
    /// been waited for.
    pub fn id(&self) -> Option<Pid> {
        self.running.root().map(Root::pid)
    }

    /// By which way it reached its container.
    pub fn mechanism(&self) -> Mechanism {
        Mechanism::Cli
    }

    /// Whether it was ended because its timeout had passed.
    pub fn timed_out(&self) -> bool {
        let watchdog = self.watchdog.as_ref();
        watchdog.is_some_and(|watchdog| watchdog.has_fired.load(Ordering::Acquire))
    }

    /// Sends a signal to it and to all that it started.
    ///
    /// That it has ended already is no error. Before the command itself runs
    /// there is nobody to get the signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ExecError> {
        if let Some(root) = self.running.root() {
            root.signal_payload(signal)?;
        }
        Ok(())
    }

    /// Kills it and all that it started, without waiting for the end.
    pub fn start_kill(&mut self) -> Result<(), ExecError> {
        if let Some(root) = self.running.root() {
            root.kill_payload()?;
        }
        Ok(())
    }

    /// Kills it and all that it started, and waits for the end.
    ///
    /// Cancel-safe: the killing is done first.
    pub async fn kill(&mut self) -> Result<(), ExecError> {
        self.running.kill().await?;
        Ok(())
    }

    /// Waits for the end. Closes standard input first, if that is still here.
    ///
    /// Cancel-safe, and the same answer each time. It reads no output: a command
    /// whose pipes are full does not end until somebody reads them.
    pub async fn wait(&mut self) -> Result<ExitStatus, ExecError> {
        drop(self.stdin.take());
        let exit = self.running.wait().await?;
        self.judge(exit)
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ExecError> {
        match self.running.try_wait()? {
            Some(exit) => self.judge(exit).map(Some),
            None => Ok(None),
        }
    }

    /// What it writes, as a stream. Takes both outputs, and leaves them as if they
    /// had never been piped.
    pub fn stream(&mut self) -> Result<OutputStream, ExecError> {
        let ended = self.running.ended()?;
        Ok(OutputStream::new(
            self.stdout.take(),
            self.stderr.take(),
            ended,
        ))
    }

    /// Closes standard input, collects the outputs that are piped, and waits.
    ///
    /// Dropping the future drops the command with it.
    pub async fn wait_with_output(mut self) -> Result<Output, ExecError> {
        drop(self.stdin.take());
        let mut stdout = Collected::default();
        let mut stderr = Collected::default();
        let mut stream = self.stream()?;
        while let Some(chunk) = stream.next().await {
            let Chunk { source, bytes } = chunk?;
            match source {
                Source::Stdout => stdout.push(bytes),
                Source::Stderr => stderr.push(bytes),
            }
        }
        let is_cut = stream.is_cut();
        drop(stream);
        let status = self.wait().await?;
        Ok(Output {
            status,
            stdout: stdout.finish(),
            stderr: stderr.finish(),
            timed_out: self.timed_out(),
            is_cut,
        })
    }

    /// Tells a failure of Apptainer from the command's own end.
    fn judge(&mut self, exit: Exit) -> Result<ExitStatus, ExecError> {
        if matches!(exit, Exit::Code(1 | 255)) {
            if let Some(stderr) = &mut self.stderr {
                stderr.read_ahead();
            }
            if let Some(stderr) = &self.discarded {
                lock(stderr).read_ahead();
            }
        }
        let tail = self.tail.bytes();
        match Failure::diagnose(exit, &tail) {
            None => Ok(ExitStatus::new(exit)),
            Some(failure) => Err(ExecError::Apptainer(Box::new(ApptainerFailure {
                program: self.program.clone(),
                argv: self.argv.clone(),
                exit,
                failure,
                stderr: String::from_utf8_lossy(&tail).into_owned(),
            }))),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of one output. A single chunk is passed on as it is.
#[derive(Default)]
struct Collected {
    first: Bytes,
    rest: BytesMut,
}

impl Collected {
    fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
            return;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&bytes);
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
}
