//! File servers: started when they are needed, kept for what is done next.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apptainer_sys::process::Seqpacket;
use nix::libc;

use super::session::{Ended, Session, Wire};
use super::{Files, FilesError};
use crate::Command;
use crate::blocking::blocking;
use crate::exec::{ExecError, LinkError, Mechanism, StartStage, Stdio, Way};

/// The servers of one container.
#[derive(Debug)]
pub(super) struct Servers {
    way: Way,
    /// Those that nobody talks to.
    idle: Mutex<Vec<Session>>,
    /// What was called off, and may not be taken away yet.
    ending: Mutex<Vec<Arc<Wire>>>,
}

/// How many are kept. More are started for more that is done at a time.
const IDLE: usize = 4;

/// For how long to wait for a server to have taken away what was not finished, in milliseconds.
const PATIENCE: u16 = 1000;

/// Where in the container the agent's own program is, as long as `/proc` is there: in the process
/// that is to become it, it is the agent's.
const PROGRAM: &str = "/proc/self/exe";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Servers {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            idle: Mutex::default(),
            ending: Mutex::default(),
        }
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = lock(&self.idle);
        while let Some(session) = idle.pop() {
            if session.is_fit() {
                return Some(session);
            }
        }
        None
    }

    /// Waits until what was called off is taken away.
    async fn settle(&self) {
        let ending = std::mem::take(&mut *lock(&self.ending));
        if ending.iter().all(|wire| wire.has_ended(0)) {
            return;
        }
        blocking(move || {
            for wire in ending {
                wire.has_ended(PATIENCE);
            }
        })
        .await;
    }

    async fn start(&self) -> Result<Session, FilesError> {
        let (ours, theirs) = Seqpacket::pair().map_err(|error| exec_error(error.into()))?;
        let mut command = Command::new(self.way.clone(), PROGRAM);
        command
            .arg("files")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .mechanism(Mechanism::Agent)
            .end_by_itself();
        // It ends with our end of the socket, and needs nobody for that.
        drop(command.spawn().await.map_err(refused)?);
        drop(command);
        let wire = Wire::new(ours);
        let mut guard = CallOff::new(&wire);
        let mut session = Session::new(wire);
        let (session, greeted) = blocking(move || {
            let greeted = session.greet();
            (session, greeted)
        })
        .await;
        match greeted {
            Ok(true) => {
                guard.keep();
                Ok(session)
            }
            Ok(false) | Err(Ended) => Err(FilesError::Unsupported {
                reason: "the agent in it is of another version",
                source: None,
            }),
        }
    }
}

/// Calls off what is done over a wire, unless that has come to its end.
struct CallOff(Option<Arc<Wire>>);

impl CallOff {
    fn new(wire: &Arc<Wire>) -> Self {
        Self(Some(Arc::clone(wire)))
    }

    fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for CallOff {
    fn drop(&mut self) {
        if let Some(wire) = &self.0 {
            wire.call_off();
        }
    }
}

/// A session that somebody uses. Dropped before it is [given back](Self::give_back), what is done
/// in it is called off.
pub(super) struct Lease {
    servers: Arc<Servers>,
    wire: Arc<Wire>,
    session: Option<Session>,
    is_done: bool,
}

impl Lease {
    /// Does this in the session, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let Some(mut session) = self.session.take() else {
            return Err(Ended.into());
        };
        let (session, result) = blocking(move || {
            let result = work(&mut session);
            (session, result)
        })
        .await;
        self.session = Some(session);
        result
    }

    pub(super) fn give_back(mut self) {
        let Some(session) = self.session.take().filter(Session::is_fit) else {
            return;
        };
        let mut idle = lock(&self.servers.idle);
        if idle.len() < IDLE {
            idle.push(session);
            self.is_done = true;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_done {
            self.wire.call_off();
            lock(&self.servers.ending).push(Arc::clone(&self.wire));
        }
    }
}

impl Files {
    pub(super) async fn lease(&self) -> Result<Lease, FilesError> {
        let servers = &self.servers;
        servers.settle().await;
        let session = match servers.take_idle() {
            Some(session) => session,
            None => servers.start().await?,
        };
        Ok(Lease {
            servers: Arc::clone(servers),
            wire: Arc::clone(session.wire()),
            session: Some(session),
            is_done: false,
        })
    }

    /// Does this with a server, on a thread that may block. Dropped, it is called off, and the
    /// server takes away what is not finished.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let mut lease = self.lease().await?;
        let result = lease.run(work).await;
        lease.give_back();
        result
    }
}

fn exec_error(error: ExecError) -> FilesError {
    FilesError::Exec(Box::new(error))
}

/// Why there is no server.
fn refused(error: ExecError) -> FilesError {
    let unsupported = |reason, error| FilesError::Unsupported {
        reason,
        source: Some(Box::new(error)),
    };
    match &error {
        ExecError::NotCarried { .. } => {
            unsupported("descriptors cannot be passed over a stream", error)
        }
        ExecError::Unavailable { .. } => unsupported("there is no agent in it", error),
        ExecError::Start(start) => match (start.stage(), start.code()) {
            (StartStage::Exec, libc::ENOENT) => unsupported("it has no /proc", error),
            (StartStage::Request, libc::EINVAL) => {
                unsupported("the agent in it is of another version", error)
            }
            _ => exec_error(error),
        },
        ExecError::Link(LinkError::Lost) => FilesError::NotThere {
            source: Some(Box::new(error)),
        },
        _ => exec_error(error),
    }
}
