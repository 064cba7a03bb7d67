//! What a run of `apptainer` says that ends by itself.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::{CommandError, GlobalOptions, Subcommand};
use apptainer_sys::exit::Failure;
use apptainer_sys::process::{Exit, Session, SpawnError, Stdio};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::{OnDrop, Running, Tail, read_available};
use crate::Apptainer;
use crate::error::ApptainerFailure;

/// How a run ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Captured {
    program: PathBuf,
    argv: Vec<OsString>,
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    /// The end of standard error.
    pub(crate) stderr: Vec<u8>,
}

/// Why there is nothing to read.
#[derive(Debug)]
pub(crate) enum CaptureError {
    /// Apptainer cannot be told to.
    Command(CommandError),
    /// It could not be started.
    Spawn(SpawnError),
    /// It could not be read from or waited for, or wrote more than was to be expected.
    Io(io::Error),
    /// It took too long, and was killed.
    TimedOut,
}

/// The most that is read from standard output, in bytes: more than anything that Apptainer
/// prints of itself.
const MOST: usize = 16 << 20;

impl Captured {
    /// It as a failure, for a run that was one.
    pub(crate) fn into_failure(self) -> ApptainerFailure {
        ApptainerFailure {
            program: self.program,
            argv: self.argv,
            exit: self.exit,
            failure: Failure::from_stderr(&self.stderr),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
        }
    }
}

/// Runs `command` to its end. Dropped midway, it is killed.
pub(crate) async fn output(
    client: &Apptainer,
    command: &impl Subcommand,
    limit: Duration,
) -> Result<Captured, CaptureError> {
    let mut spawn = client
        .invocation(&GlobalOptions::silent(), command)
        .map_err(CaptureError::Command)?;
    spawn
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe())
        .stderr(Stdio::pipe());
    let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
    let mut running = Running::spawn(spawn, OnDrop::Kill).map_err(CaptureError::Spawn)?;
    let [_, stdout, stderr] = running.take_pipes();
    let (mut written, tail) = (BytesMut::new(), Tail::default());
    let followed = follow(&mut running, stdout, stderr, &mut written, &tail);
    let Ok(exit) = tokio::time::timeout(limit, followed).await else {
        running.kill().await.map_err(CaptureError::Io)?;
        return Err(CaptureError::TimedOut);
    };
    Ok(Captured {
        program,
        argv,
        exit: exit.map_err(CaptureError::Io)?,
        stdout: written.into(),
        stderr: tail.bytes(),
    })
}

/// Reads both pipes until it has ended.
async fn follow(
    running: &mut Running,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    written: &mut BytesMut,
    tail: &Tail,
) -> io::Result<Exit> {
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(io::Error::other("its output is not piped"));
    };
    let mut stdout = Receiver::from_owned_fd(stdout)?;
    let mut stderr = Receiver::from_owned_fd(stderr)?;
    let ended = running.ended()?;
    tokio::select! {
        read = read_both(&mut stdout, &mut stderr, written, tail) => read?,
        // A helper that outlives it may hold the pipes: what is in them is enough.
        ended = ended.wait() => {
            ended?;
            written.extend_from_slice(&read_available(&stdout));
            tail.push(&read_available(&stderr));
        }
    }
    running.wait().await
}

async fn read_both(
    stdout: &mut Receiver,
    stderr: &mut Receiver,
    written: &mut BytesMut,
    tail: &Tail,
) -> io::Result<()> {
    let whole = async {
        while stdout.read_buf(written).await? > 0 {
            if written.len() > MOST {
                return Err(io::Error::other(format!("it wrote over {MOST} bytes")));
            }
        }
        Ok(())
    };
    let end = async {
        let mut buffer = BytesMut::new();
        while stderr.read_buf(&mut buffer).await? > 0 {
            tail.push(&buffer.split());
        }
        Ok(())
    };
    tokio::try_join!(whole, end)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use apptainer_sys::command::Verify;
    use apptainer_sys::process::{Pid, PidFd, Signal};

    const LONG: Duration = Duration::from_secs(60);

    /// A client of a program that is this script.
    async fn client(folder: &Path, script: &str) -> Apptainer {
        let program = folder.join("apptainer");
        let version = "if [ \"$1\" = --version ]; then echo apptainer version 1.4.5; exit; fi";
        fs::write(&program, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let builder = Apptainer::builder().program(program);
        let builder = builder.config_dir(folder).store_dir(folder);
        builder.build().await.unwrap()
    }

    async fn run(script: &str, limit: Duration) -> Result<Captured, CaptureError> {
        let folder = tempfile::tempdir().unwrap();
        let client = client(folder.path(), script).await;
        output(&client, &Verify::new("a.sif"), limit).await
    }

    fn pid(text: &str) -> Pid {
        Pid::try_from(text.trim().parse::<u32>().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_a_run_writes_and_how_it_ends_is_kept() {
        let script = "printf '%s ' \"$@\"; echo 'FATAL:   no' >&2; exit 255";
        let captured = run(script, LONG).await.unwrap();
        assert_eq!(captured.stdout, b"--silent --nocolor verify a.sif ");
        assert_eq!(captured.exit, Exit::Code(255));
        let failure = captured.into_failure();
        assert_eq!(failure.failure.message, "no");
        assert_eq!(failure.stderr, "FATAL:   no\n");
    }

    #[tokio::test]
    async fn more_than_a_pipe_holds_is_read_whole() {
        let script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let captured = run(script, LONG).await.unwrap();
        assert_eq!(captured.stdout.len(), 3_000_000);
        assert!(captured.exit.success());
    }

    #[tokio::test]
    async fn a_helper_that_outlives_it_is_not_waited_for() {
        let captured = run("sleep 300 & echo $!", LONG).await.unwrap();
        let helper = PidFd::open(pid(&String::from_utf8(captured.stdout).unwrap())).unwrap();
        helper.signal(Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn what_takes_too_long_or_writes_without_end_is_given_up() {
        let late = run("exec sleep 300", Duration::from_millis(100)).await;
        assert!(matches!(late, Err(CaptureError::TimedOut)));
        let endless = run("exec yes", LONG).await;
        assert!(matches!(endless, Err(CaptureError::Io(_))));
    }

    #[tokio::test]
    async fn dropped_midway_it_is_killed() {
        let script = "cd $APPTAINER_CONFIGDIR; echo $$ > new; mv new pid; exec sleep 300";
        let folder = tempfile::tempdir().unwrap();
        let client = client(folder.path(), script).await;
        let command = Verify::new("a.sif");
        let started = async {
            loop {
                if let Ok(text) = fs::read_to_string(folder.path().join("pid")) {
                    return PidFd::open(pid(&text)).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let program = tokio::select! {
            program = started => program,
            done = output(&client, &command, LONG) => panic!("{done:?}"),
        };
        assert!(program.wait_ended(Some(LONG)).unwrap());
    }
}
