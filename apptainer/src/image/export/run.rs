//! Running programs that end with whoever waits for them.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use apptainer_sys::process::{Exit, Session, Signal, Spawn, SpawnError, SpawnStage, Stdio};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::ExportError;
use super::error::read_error;
use crate::process::{self, OnDrop, Running, Tail, read_available};

/// How a program ended.
pub(super) struct Ended {
    pub(super) program: PathBuf,
    pub(super) argv: Vec<OsString>,
    pub(super) exit: Exit,
    /// The end of what it wrote to standard error.
    pub(super) stderr: Vec<u8>,
}

impl Ended {
    pub(super) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs the program that `make` makes, and keeps `kept` until it has ended.
///
/// Dropped midway it kills the program.
pub(super) async fn run(
    make: impl Fn() -> Result<Spawn, ExportError>,
    kept: impl Any + Send,
) -> Result<Ended, ExportError> {
    let spawn = make()?;
    let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
    let mut running = start(spawn, make)?;
    running.keep(kept);
    let [_, _, stderr] = running.take_pipes();
    let tail = Tail::default();
    let failed = read_error(&program);
    let followed = async {
        if let Some(stderr) = stderr {
            follow(running.ended()?, Receiver::from_owned_fd(stderr)?, &tail).await?;
        }
        running.wait().await
    };
    let exit = followed.await.map_err(failed)?;
    drop(running.release());
    Ok(Ended {
        program,
        argv,
        exit,
        stderr: tail.bytes(),
    })
}

/// As a child that dies with this process, where that can be had.
fn start(
    spawn: Spawn,
    make: impl Fn() -> Result<Spawn, ExportError>,
) -> Result<Running, ExportError> {
    match Running::spawn(set_up(spawn, Some(Signal::KILL)), OnDrop::Kill) {
        Err(SpawnError {
            stage: SpawnStage::ParentDeath,
            ..
        }) => Ok(Running::spawn(set_up(make()?, None), OnDrop::Kill)?),
        started => Ok(started?),
    }
}

fn set_up(mut spawn: Spawn, parent_death: Option<Signal>) -> Spawn {
    spawn
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stderr(Stdio::pipe());
    if let Some(signal) = parent_death {
        spawn.parent_death_signal(signal);
    }
    spawn
}

/// Reads what it says until it ends.
async fn follow(ended: process::Ended, mut stderr: Receiver, tail: &Tail) -> io::Result<()> {
    let reading = async {
        let mut said = BytesMut::new();
        while stderr.read_buf(&mut said).await? > 0 {
            tail.push(&said);
            said.clear();
        }
        io::Result::Ok(())
    };
    tokio::select! {
        read = reading => return read,
        // A helper that outlives it may hold the pipe: what is in it is enough.
        ended = ended.wait() => ended?,
    }
    tail.push(&read_available(&stderr));
    Ok(())
}
