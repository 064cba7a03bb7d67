//! Starting an agent.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::{Exit, Seqpacket, Session, Stdio};

use super::connection::{Connection, hear};
use super::protocol::{Hello, Orphans, Reply, Request, VERSION};
use super::{Carrier, LinkError};
use crate::error::ApptainerFailure;
use crate::exec::{ExecError, Place};
use crate::process::{OnDrop, Running};

/// The numbers that the agent's program and its end of the link have. High enough that
/// nothing else has them, low enough for a limit of 256.
const PROGRAM: i32 = 200;
const LINK: i32 = 201;

/// What was started, and what tells why it did not come up.
struct Launched {
    running: Running,
    socket: Seqpacket,
    argv: Vec<std::ffi::OsString>,
    program: std::path::PathBuf,
    /// A file, so that nobody has to read it and nobody can be stopped by it.
    stderr: File,
}

/// Starts an agent where `place` is.
///
/// Dropping the future ends what has been started.
pub(super) async fn launch(place: &Place) -> Result<Arc<Connection>, ExecError> {
    let mut refused = None;
    for carrier in Carrier::ALL {
        match attempt(place, carrier).await {
            Err(ExecError::Link(LinkError::NoAgent { reason })) => {
                tracing::debug!(reason, ?carrier, "the exec agent does not run as this");
                refused = Some(reason);
            }
            launched => return launched,
        }
    }
    let reason = refused.unwrap_or_default();
    Err(LinkError::NoAgent { reason }.into())
}

async fn attempt(place: &Place, carrier: Carrier) -> Result<Arc<Connection>, ExecError> {
    let io_error = |doing| move |source| LinkError::Io { doing, source };
    let program = carrier.program().map_err(|error| LinkError::NoAgent {
        reason: error.to_string(),
    })?;
    let token = token().map_err(io_error("name the exec agent"))?;
    let launched = start(place, program, &token)?;
    let Launched {
        mut running,
        socket,
        ..
    } = launched;
    // Whichever comes first: on its end the socket is closed, but for what is said in it.
    let answer = hear(&socket).await;
    let (reply, pid) = match answer {
        Err(LinkError::Lost) => {
            let exit = running.wait().await?;
            let told = Launched {
                running,
                socket,
                ..launched
            };
            return Err(told.why(exit).into());
        }
        answer => answer?,
    };
    match reply {
        Reply::Welcome(welcome) if welcome.version == VERSION => {
            let connection = Connection::new(socket, running, pid, token);
            Ok(Arc::new(connection))
        }
        Reply::Refused { oldest, newest } => Err(LinkError::Version { oldest, newest }.into()),
        _ => {
            let reason = "it does not speak the protocol".to_owned();
            Err(LinkError::NoAgent { reason }.into())
        }
    }
}

fn start(place: &Place, program: OwnedFd, token: &[u8; 16]) -> Result<Launched, ExecError> {
    let io_error = |doing| move |source| LinkError::Io { doing, source };
    let (socket, theirs) = Seqpacket::pair().map_err(io_error("make a socket"))?;
    socket.tell_senders().map_err(io_error("make a socket"))?;
    // Lies there until the agent is up.
    let hello = Hello {
        oldest: VERSION,
        newest: VERSION,
        orphans: Orphans::Kill,
        token: *token,
    };
    let mut message = Vec::with_capacity(64);
    Request::Hello(hello).encode(&mut message);
    socket
        .send(&message, &[])
        .map_err(io_error("say hello to the exec agent"))?;

    let stderr = tempfile::tempfile().map_err(io_error("make a temporary file"))?;
    let theirs_of_it = stderr
        .try_clone()
        .map_err(io_error("make a temporary file"))?;
    let mut spawn = place.invocation(
        format!("/proc/self/fd/{PROGRAM}"),
        [LINK.to_string().into()],
    )?;
    spawn
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .stderr(Stdio::Fd(theirs_of_it.into()))
        .inherit(program, PROGRAM)
        .inherit(theirs.into(), LINK);
    let (program, argv) = (spawn.program().to_owned(), spawn.argv().to_vec());
    let running = Running::spawn(spawn, OnDrop::Kill)?;
    Ok(Launched {
        running,
        socket,
        argv,
        program,
        stderr,
    })
}

impl Launched {
    /// Why the agent is not up, given how `apptainer` ended.
    fn why(mut self, exit: Exit) -> LinkError {
        let mut stderr = Vec::new();
        let read = self
            .stderr
            .rewind()
            .and_then(|()| self.stderr.read_to_end(&mut stderr));
        if let Err(error) = read {
            tracing::warn!(%error, "cannot read what apptainer says");
        }
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        match Failure::diagnose(exit, stderr.as_bytes()) {
            Some(failure) if !is_of_agent(failure.kind) => {
                LinkError::Apptainer(Box::new(ApptainerFailure {
                    program: self.program,
                    argv: self.argv,
                    exit,
                    failure,
                    stderr,
                }))
            }
            Some(failure) => LinkError::NoAgent {
                reason: failure.message,
            },
            None => LinkError::NoAgent {
                reason: format!("it ended at once: {exit}"),
            },
        }
    }
}

/// Whether it is the agent that Apptainer could not run.
fn is_of_agent(kind: FailureKind) -> bool {
    let kinds = [
        FailureKind::CommandNotFound,
        FailureKind::CommandNotExecutable,
    ];
    kinds.contains(&kind)
}

/// What nothing else is marked with.
pub(super) fn token() -> io::Result<[u8; 16]> {
    let mut token = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut token)?;
    Ok(token)
}
