//! Starting an agent.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::{Pid, PidFd, Seqpacket, Session, Stdio};

use super::connection::{Agent, Connection, hear};
use super::control::is_gone;
use super::protocol::{Hello, Orphans, Reply, Request, VERSION};
use super::socket::{Address, Listening};
use super::{Carrier, LinkError};
use crate::error::ApptainerFailure;
use crate::exec::{ExecError, Place};
use crate::process::{OnDrop, Running};

/// The numbers that the agent's program, its end of the link and its listening socket have. High enough that
/// nothing else has them, low enough for a limit of 256.
const PROGRAM: i32 = 200;
pub(super) const LINK: i32 = 201;
pub(super) const LISTENER: i32 = 202;

/// How long an agent that runs may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What was started, and what tells why it did not come up.
struct Launched {
    running: Running,
    socket: Seqpacket,
    argv: Vec<OsString>,
    program: PathBuf,
    /// A file, so that nobody has to read it and nobody can be stopped by it.
    stderr: File,
}

/// Starts an agent where `place` is; one that callers find again, where a socket for them is
/// given.
///
/// Dropping the future ends what has been started.
pub(super) async fn launch(
    place: &Place,
    listening: Option<Listening>,
) -> Result<Arc<Connection>, ExecError> {
    let mut refused = None;
    for carrier in Carrier::ALL {
        match attempt(place, carrier, listening.as_ref()).await {
            Err(ExecError::Link(
                reason @ (LinkError::NoAgent { .. } | LinkError::Stillborn { .. }),
            )) => {
                tracing::debug!(%reason, ?carrier, "the exec agent does not run as this");
                // What may pass counts, whatever else there is.
                if !matches!(refused, Some(LinkError::Stillborn { .. })) {
                    refused = Some(reason);
                }
            }
            Err(error) => return Err(error),
            Ok((socket, mut running, mut agent)) => {
                if let Some(reason) = refused {
                    tracing::warn!(
                        %reason,
                        ?carrier,
                        "the exec agent runs as another kind of file"
                    );
                }
                agent.carrier = Some(carrier);
                let address = listening.map(Listening::keep);
                if address.is_some() {
                    running.let_go();
                }
                let connection = Connection::new(socket, Some(running), address, agent);
                return Ok(Arc::new(connection));
            }
        }
    }
    Err(refused.unwrap_or(LinkError::Lost).into())
}

/// Connects to an agent that was left running.
///
/// Dropping the future leaves it as it is.
pub(super) async fn attach(path: &Path) -> Result<Connection, LinkError> {
    let (address, socket) = Address::connect(path)?;
    socket
        .tell_senders()
        .map_err(io_error("listen to a link"))?;
    // It has one already, which counts.
    match greet(&socket, Orphans::Keep, &[0; 16]) {
        // It may have said why it hung up.
        Err(LinkError::Io { source, .. }) if is_gone(&source) => {}
        greeted => greeted?,
    }
    let answer = tokio::time::timeout(PATIENCE, hear(&socket));
    let path = || path.to_owned();
    let agent = match answer.await {
        // It ended just now.
        Ok(Err(LinkError::Lost)) => return Err(LinkError::NotThere { path: path() }),
        Ok(Ok((Reply::Failed { .. }, _))) => return Err(LinkError::Full { path: path() }),
        Ok(answer) => welcome(answer?)?,
        Err(elapsed) => return Err(io_error("attach to a link")(elapsed.into())),
    };
    Ok(Connection::new(socket, None, Some(address), agent))
}

async fn attempt(
    place: &Place,
    carrier: Carrier,
    listening: Option<&Listening>,
) -> Result<(Seqpacket, Running, Agent), ExecError> {
    let program = carrier.program().map_err(|source| match source.kind() {
        // What could not be done now is another thing.
        io::ErrorKind::Unsupported
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotFound
        | io::ErrorKind::ReadOnlyFilesystem => LinkError::NoAgent {
            reason: source.to_string(),
        },
        _ => io_error("make the exec agent's program")(source),
    })?;
    let launched = start(place, program, listening)?;
    // Whichever comes first: on its end the socket is closed, but for what is said in it.
    match hear(&launched.socket).await {
        Err(LinkError::Lost) => Err(launched.why().await?.into()),
        answer => Ok((launched.socket, launched.running, welcome(answer?)?)),
    }
}

/// Says hello, which lies there until the agent is up.
pub(super) fn greet(
    socket: &Seqpacket,
    orphans: Orphans,
    token: &[u8; 16],
) -> Result<(), LinkError> {
    let hello = Hello {
        oldest: VERSION,
        newest: VERSION,
        orphans,
        token: *token,
    };
    let mut message = Vec::with_capacity(64);
    Request::Hello(hello).encode(&mut message);
    let sent = socket.send(&message, &[]);
    sent.map_err(io_error("say hello to the exec agent"))
}

/// Who the agent says it is.
pub(super) fn welcome(answer: (Reply, Option<Pid>)) -> Result<Agent, LinkError> {
    match answer {
        (Reply::Welcome(welcome), pid) if welcome.version == VERSION => Ok(Agent {
            pid,
            pidfd: pid.and_then(|pid| PidFd::open(pid).ok()).map(Arc::new),
            carrier: None,
            token: welcome.token,
        }),
        (Reply::Refused { oldest, newest }, _) => Err(LinkError::Version { oldest, newest }),
        _ => {
            let reason = "it does not speak the protocol".to_owned();
            Err(LinkError::NoAgent { reason })
        }
    }
}

pub(super) fn io_error(doing: &'static str) -> impl Fn(io::Error) -> LinkError {
    move |source| LinkError::Io { doing, source }
}

fn start(
    place: &Place,
    program: OwnedFd,
    listening: Option<&Listening>,
) -> Result<Launched, ExecError> {
    let (socket, theirs) = Seqpacket::pair().map_err(io_error("make a socket"))?;
    socket.tell_senders().map_err(io_error("make a socket"))?;
    let orphans = match listening {
        Some(_) => Orphans::Keep,
        None => Orphans::Kill,
    };
    let token = token().map_err(io_error("name the exec agent"))?;
    greet(&socket, orphans, &token)?;

    let stderr = tempfile::tempfile().map_err(io_error("make a temporary file"))?;
    let theirs_of_it = stderr
        .try_clone()
        .map_err(io_error("make a temporary file"))?;
    let mut sockets: Vec<OsString> = vec![LINK.to_string().into()];
    let listener = listening.map(Listening::listener).transpose();
    let listener = listener.map_err(io_error("make a socket"))?;
    sockets.extend(listener.as_ref().map(|_| LISTENER.to_string().into()));
    let mut spawn = place.invocation(format!("/proc/self/fd/{PROGRAM}"), sockets)?;
    spawn
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stdout(Stdio::Null)
        .stderr(Stdio::Fd(theirs_of_it.into()))
        .inherit(program, PROGRAM)
        .inherit(theirs.into(), LINK);
    if let Some(listener) = listener {
        spawn.inherit(listener, LISTENER);
    }
    // The agent closes them at once; the `apptainer` around it keeps them.
    if let Some(image) = &place.uses {
        image.lend(&mut spawn);
    }
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
    /// Why the agent is not up: `apptainer` has ended, or is about to.
    async fn why(mut self) -> io::Result<LinkError> {
        let exit = self.running.wait().await?;
        let mut stderr = Vec::new();
        let read = self
            .stderr
            .rewind()
            .and_then(|()| self.stderr.read_to_end(&mut stderr));
        if let Err(error) = read {
            tracing::warn!(%error, "cannot read what apptainer says");
        }
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(match Failure::diagnose(exit, stderr.as_bytes()) {
            Some(failure) if !is_of_agent(failure.kind) => {
                LinkError::Apptainer(Box::new(ApptainerFailure {
                    program: self.program,
                    argv: self.argv,
                    exit,
                    failure,
                    stderr,
                    stdout: String::new(),
                }))
            }
            Some(failure) => LinkError::NoAgent {
                reason: failure.message,
            },
            None => LinkError::Stillborn { exit },
        })
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
