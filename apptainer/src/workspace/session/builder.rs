//! Opening a session.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::output::Outputs;
use super::shell::{Event, Shell, arguments};
use super::{Session, Shared};
use crate::Child;
use crate::exec::{ExecError, Source, Stdio};
use crate::variables::Variables;
use crate::workspace::execute::no_shell;
use crate::workspace::{Said, Workspace, WorkspaceError};

/// A session to open: from [`Workspace::session`].
#[derive(Debug, Clone)]
#[must_use = "a session is not there until it is opened"]
pub struct SessionBuilder {
    workspace: Workspace,
    name: String,
    shell: Option<PathBuf>,
    current_dir: Option<PathBuf>,
    env: Variables,
}

/// Shells that are looked for.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// How long a shell may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl SessionBuilder {
    pub(in crate::workspace) fn new(workspace: &Workspace, name: String) -> Self {
        Self {
            workspace: workspace.clone(),
            name,
            shell: None,
            current_dir: None,
            env: Variables::default(),
        }
    }

    /// Its shell, which is to be a POSIX shell: a path in the container. `/bin/bash` otherwise, or
    /// `/bin/sh` where there is none.
    pub fn shell(mut self, path: impl Into<PathBuf>) -> Self {
        self.shell = Some(path.into());
        self
    }

    /// Where it begins: below the working directory, if this is not absolute.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.push(pair);
        self
    }

    /// Opens it. Dropping the future leaves nothing of it.
    pub async fn open(self) -> Result<Session, WorkspaceError> {
        self.check_name()?;
        let (path, shell) = match &self.shell {
            Some(path) => (path.as_path(), self.spawn(path).await?),
            None => match self.spawn(Path::new(SHELLS[0])).await {
                Err(WorkspaceError::NoShell { .. }) => {
                    let path = Path::new(SHELLS[1]);
                    (path, self.spawn(path).await?)
                }
                shell => (Path::new(SHELLS[0]), shell?),
            },
        };
        let shell = self.greet(shell, path).await?;
        let session = Session {
            shared: Arc::new(Shared {
                name: self.name.clone(),
                child: Arc::clone(&shell.child),
                progress: Arc::clone(&shell.progress),
                service: self.workspace.service().clone(),
                shell: Arc::new(tokio::sync::Mutex::new(shell)),
            }),
        };
        // Another may have been opened meanwhile.
        let mut sessions = self.workspace.sessions();
        if sessions.contains_key(&self.name) {
            return Err(self.exists());
        }
        sessions.insert(self.name.clone(), session.clone());
        drop(sessions);
        Ok(session)
    }

    fn check_name(&self) -> Result<(), WorkspaceError> {
        if self.workspace.sessions().contains_key(&self.name) {
            return Err(self.exists());
        }
        Ok(())
    }

    fn exists(&self) -> WorkspaceError {
        WorkspaceError::SessionExists {
            name: self.name.clone(),
        }
    }

    async fn spawn(&self, path: &Path) -> Result<Shell, WorkspaceError> {
        let failed = |source| WorkspaceError::Session {
            name: self.name.clone(),
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let (stdout, stdout_end) = pipe().map_err(failed)?;
        let (stderr, stderr_end) = pipe().map_err(failed)?;
        let outputs = Outputs::new(stdout, stderr).map_err(failed)?;
        let mut command = self.workspace.command(path)?;
        command
            .args(arguments(path))
            // A file that interactive shells would read.
            .env_remove("ENV")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(stdout_end)
            .stderr(stderr_end)
            .side_channel(theirs.into());
        if let Some(path) = &self.current_dir {
            command.current_dir(self.workspace.resolve(path));
        }
        let spawned: Result<Child, ExecError> = command.spawn().await;
        let mut child = spawned.map_err(no_shell(path))?;
        let stdin = child.stdin.take();
        let channel = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        let child = Arc::new(Mutex::new(child));
        Ok(Shell::new(child, channel, stdin, outputs))
    }

    /// Waits until it has answered.
    async fn greet(&self, mut shell: Shell, path: &Path) -> Result<Shell, WorkspaceError> {
        let mut said = Vec::new();
        shell.begin();
        let greeted = tokio::time::timeout(PATIENCE, async {
            loop {
                match shell.next().await? {
                    Event::Wrote(chunk) if chunk.source == Source::Stderr => {
                        said.extend_from_slice(&chunk.bytes);
                    }
                    Event::Wrote(_) => {}
                    Event::Ended(_) => return Ok(true),
                    Event::Gone => return io::Result::Ok(false),
                }
            }
        });
        match greeted.await {
            Ok(Ok(true)) => {
                shell.outputs.take();
                Ok(shell)
            }
            Ok(Err(source)) => Err(WorkspaceError::Session {
                name: self.name.clone(),
                source,
            }),
            Ok(Ok(false)) | Err(_) => Err(WorkspaceError::NotAShell {
                name: self.name.clone(),
                shell: path.into(),
                said: Said(String::from_utf8_lossy(&said).into_owned()),
            }),
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}
