//! A command that an `apptainer exec` of its own runs.

use std::any::Any;
use std::ffi::OsString;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use apptainer_sys::exit::Failure;
use apptainer_sys::process::{Exit, Pid, ResourceUsage, Signal, Spawn};
use tokio::io::{AsyncRead, ReadBuf};

use super::{ChildStderr, ExecError};
use crate::error::ApptainerFailure;
use crate::process::{Ended, OnDrop, Root, Running, Tail};

/// A run of `apptainer exec`.
#[derive(Debug)]
pub(super) struct Cli {
    running: Running,
    program: PathBuf,
    argv: Vec<OsString>,
    tail: Tail,
    /// Standard error, where the caller wants none of it.
    discarded: Option<Arc<Mutex<ChildStderr>>>,
}

impl Cli {
    /// Starts it: also our ends of its pipes, and where the end of standard error is kept.
    pub(super) fn spawn(
        spawn: Spawn,
        on_drop: OnDrop,
    ) -> Result<(Self, [Option<OwnedFd>; 3], Tail), ExecError> {
        let program = spawn.program().to_owned();
        let argv = spawn.argv().to_vec();
        let tail = Tail::default();
        let mut running = Running::spawn(spawn, on_drop)?;
        let pipes = running.take_pipes();
        let cli = Self {
            running,
            program,
            argv,
            tail: tail.clone(),
            discarded: None,
        };
        Ok((cli, pipes, tail))
    }

    /// Reads standard error for nobody but the error message.
    pub(super) fn discard(&mut self, stderr: ChildStderr) {
        let stderr = Arc::new(Mutex::new(stderr));
        self.discarded = Some(Arc::clone(&stderr));
        tokio::spawn(async move {
            let read = |context: &mut Context<'_>| {
                let mut room = [0; 8 * 1024];
                let mut buffer = ReadBuf::new(&mut room);
                let read = Pin::new(&mut *lock(&stderr)).poll_read(context, &mut buffer);
                read.map_ok(|()| buffer.filled().len())
            };
            while matches!(poll_fn(read).await, Ok(1..)) {}
        });
    }

    /// Keeps `value` until it has ended.
    pub(super) fn keep(&mut self, value: impl Any + Send) {
        self.running.keep(value);
    }

    pub(super) fn root(&self) -> Option<&Root> {
        self.running.root()
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.root().map(Root::pid)
    }

    pub(super) fn ended(&self) -> std::io::Result<Ended> {
        self.running.ended()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ExecError> {
        if let Some(root) = self.root() {
            root.signal_payload(signal)?;
        }
        Ok(())
    }

    pub(super) fn start_kill(&self) -> Result<(), ExecError> {
        if let Some(root) = self.root() {
            root.kill_payload()?;
        }
        Ok(())
    }

    pub(super) async fn kill(&mut self) -> Result<(), ExecError> {
        self.running.kill().await?;
        Ok(())
    }

    pub(super) async fn wait(
        &mut self,
        stderr: Option<&mut ChildStderr>,
    ) -> Result<(Exit, ResourceUsage), ExecError> {
        let exit = self.running.wait().await?;
        self.judge(exit, stderr)
    }

    pub(super) fn try_wait(
        &mut self,
        stderr: Option<&mut ChildStderr>,
    ) -> Result<Option<(Exit, ResourceUsage)>, ExecError> {
        match self.running.try_wait()? {
            Some(exit) => self.judge(exit, stderr).map(Some),
            None => Ok(None),
        }
    }

    /// Tells a failure of Apptainer from the command's own end.
    fn judge(
        &self,
        exit: Exit,
        stderr: Option<&mut ChildStderr>,
    ) -> Result<(Exit, ResourceUsage), ExecError> {
        if matches!(exit, Exit::Code(1 | 255)) {
            if let Some(stderr) = stderr {
                stderr.read_ahead();
            }
            if let Some(stderr) = &self.discarded {
                lock(stderr).read_ahead();
            }
        }
        let tail = self.tail.bytes();
        match Failure::diagnose(exit, &tail) {
            None => Ok((exit, self.running.usage().unwrap_or_default())),
            Some(failure) => Err(ExecError::Apptainer(Box::new(ApptainerFailure {
                program: self.program.clone(),
                argv: self.argv.clone(),
                exit,
                failure,
                stderr: String::from_utf8_lossy(&tail).into_owned(),
                stdout: String::new(),
            }))),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
