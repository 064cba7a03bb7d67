//! Programs that are run to their end, and end with whoever waits for them.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::exit::Failure;
use apptainer_sys::process::{Exit, Session, Signal, Spawn, SpawnError, SpawnStage, Stdio};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use super::{OnDrop, Running, Tail, read_available};
use crate::error::ApptainerFailure;

/// How long a program may take to end once it has been killed: with its payload, and then with
/// all of it.
const KILLING: Duration = Duration::from_secs(10);

/// How a program is run.
pub(crate) struct Run<'a> {
    /// When it will have taken too long.
    pub(crate) deadline: Instant,
    /// What becomes of its standard output, where that is a pipe.
    pub(crate) stdout: Keep,
    /// What is told each piece that it writes to standard error.
    pub(crate) heard: &'a mut (dyn FnMut(&[u8]) + Send),
}

/// How much is kept of what a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it; more than so many bytes are an error.
    Whole(usize),
    /// The end.
    End,
}

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) program: PathBuf,
    pub(crate) argv: Vec<OsString>,
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    /// The end of standard error.
    pub(crate) stderr: Vec<u8>,
}

/// Why a program was not run to its end.
#[derive(Debug)]
pub(crate) enum RunError<E> {
    /// It cannot be made.
    Make(E),
    /// It could not be started.
    Spawn(SpawnError),
    /// It could not be read from or waited for, or wrote more than was to be expected.
    Io(io::Error),
    /// It took too long, and was killed.
    TimedOut,
}

impl Ended {
    pub(crate) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }

    /// It as a failure, for an `apptainer` that was one.
    pub(crate) fn into_failure(self) -> ApptainerFailure {
        ApptainerFailure {
            failure: Failure::from_stderr(&self.stderr),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            stdout: String::new(),
            program: self.program,
            argv: self.argv,
            exit: self.exit,
        }
    }
}

impl Run<'_> {
    /// Runs the program that `make` makes, in a session of its own, and keeps `kept` until it
    /// has ended.
    ///
    /// Dropped midway, or where it takes too long, the program is killed. Where this process is
    /// killed, it is too, as far as that can be had.
    pub(crate) async fn run<E>(
        self,
        make: impl Fn() -> Result<Spawn, E>,
        kept: impl Any + Send,
    ) -> Result<Ended, RunError<E>> {
        let spawn = make().map_err(RunError::Make)?;
        let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
        let mut running = match start(spawn, Some(Signal::KILL)) {
            // That cannot be had everywhere.
            Err(error) if error.stage == SpawnStage::ParentDeath => {
                tracing::debug!(%error, "a program goes on if this process is killed");
                start(make().map_err(RunError::Make)?, None)
            }
            started => started,
        }
        .map_err(RunError::Spawn)?;
        running.keep(kept);
        let mut output = Output {
            keep: self.stdout,
            whole: BytesMut::new(),
            stdout: Tail::default(),
            stderr: Tail::default(),
        };
        let followed = follow(&mut running, &mut output, self.heard);
        let Ok(exit) = tokio::time::timeout_at(self.deadline, followed).await else {
            // What does not end even so, as where a file system does not answer, is left to the
            // reaper.
            return match tokio::time::timeout(KILLING, running.kill()).await {
                Ok(Err(error)) => Err(RunError::Io(error)),
                Ok(Ok(_)) => Err(RunError::TimedOut),
                Err(_) => {
                    let program = program.display();
                    tracing::warn!(%program, "a program that was killed has not ended");
                    Err(RunError::TimedOut)
                }
            };
        };
        let exit = exit.map_err(RunError::Io)?;
        // What was kept is the caller's alone again.
        drop(running.release());
        Ok(Ended {
            program,
            argv,
            exit,
            stdout: match self.stdout {
                Keep::Whole(_) => output.whole.into(),
                Keep::End => output.stdout.bytes(),
            },
            stderr: output.stderr.bytes(),
        })
    }
}

fn start(mut spawn: Spawn, parent_death: Option<Signal>) -> Result<Running, SpawnError> {
    spawn
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stderr(Stdio::pipe());
    if let Some(signal) = parent_death {
        spawn.parent_death_signal(signal);
    }
    Running::spawn(spawn, OnDrop::Kill)
}

/// What a program has written.
struct Output {
    keep: Keep,
    whole: BytesMut,
    stdout: Tail,
    stderr: Tail,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.keep {
            Keep::End => self.stdout.push(bytes),
            Keep::Whole(most) if self.whole.len() + bytes.len() > most => {
                return Err(io::Error::other(format!("it wrote over {most} bytes")));
            }
            Keep::Whole(_) => self.whole.extend_from_slice(bytes),
        }
        Ok(())
    }
}

/// Reads both pipes until it has ended.
async fn follow(
    running: &mut Running,
    output: &mut Output,
    heard: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<Exit> {
    let [_, stdout, stderr] = running.take_pipes();
    let receiver = |pipe: Option<OwnedFd>| pipe.map(Receiver::from_owned_fd).transpose();
    let (mut stdout, mut stderr) = (receiver(stdout)?, receiver(stderr)?);
    let ended = running.ended()?;
    let mut said = [BytesMut::new(), BytesMut::new()];
    let [said_out, said_err] = &mut said;
    while stdout.is_some() || stderr.is_some() {
        tokio::select! {
            count = read(&mut stdout, said_out) => {
                if count? == 0 {
                    stdout = None;
                }
                output.push(&said_out.split())?;
            }
            count = read(&mut stderr, said_err) => {
                if count? == 0 {
                    stderr = None;
                }
                output.stderr.push(said_err);
                heard(&said_err.split());
            }
            // A helper that outlives it may hold the pipes: what is in them is enough.
            ended = ended.wait() => {
                ended?;
                if let Some(stdout) = &stdout {
                    output.push(&read_available(stdout))?;
                }
                if let Some(stderr) = &stderr {
                    let rest = read_available(stderr);
                    output.stderr.push(&rest);
                    heard(&rest);
                }
                break;
            }
        }
    }
    running.wait().await
}

/// How many bytes came; never, where there is no pipe.
async fn read(pipe: &mut Option<Receiver>, bytes: &mut BytesMut) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read_buf(bytes).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
