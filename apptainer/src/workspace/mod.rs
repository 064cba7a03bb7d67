//! Workspaces: an image, a writable layer and a working directory, to run commands in.
//!
//! What an agent or a service holds in its hand. It works on any image, with nothing of ours inside:
//! [`execute`](Workspace::execute) runs a shell line, [`command`](Workspace::command) a program,
//! [`session`](Workspace::session) a shell that keeps its state from one line to the next;
//! [`files`](Workspace::files) copies files in and out, [`git`](Workspace::git) tells what has been
//! changed, [`fork`](Workspace::fork) begins another one with what is in this one, and
//! [`snapshot`](Workspace::snapshot) makes an image of that.
//!
//! ```no_run
//! # async fn example(apptainer: apptainer::Apptainer) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let workspace = apptainer.workspace("docker://python:3.12").start().await?;
//! let result = workspace
//!     .execute("pip install requests && python -c 'import requests'")
//!     .timeout(Duration::from_secs(120))
//!     .await?;
//! assert!(result.success(), "{}", result.stderr_text());
//!
//! // What was done so far, twice.
//! let fork = workspace.fork().await?;
//! fork.execute("rm -rf /usr/local/lib/python3.12").await?;
//! fork.stop().await?;
//! workspace.stop().await?;
//! # Ok(())
//! # }
//! ```

mod base;
mod builder;
mod error;
mod execute;
mod fork;
mod git;
mod layer;
mod session;
mod snapshot;
mod source;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use base::{BaseWorkspace, ExecuteOptions, WorkspaceFuture};
pub use builder::WorkspaceBuilder;
pub use error::{Said, WorkspaceError};
pub use execute::{CommandResult, Execute};
pub use git::{Git, GitChange, GitDiff, GitError, GitProgram, GitStatus, MAX_DIFF_BYTES};
pub use session::{Session, SessionBuilder, SessionCommand, SessionRun};
pub use snapshot::Snapshot;
pub use source::Source;

use tokio::sync::OnceCell;

use crate::files::Files;
use crate::instance::{Mechanism, Service, Spec, State, Stats, Supervisor};
use crate::{Apptainer, Command, Image};

/// A container to work in.
///
/// A handle, cheap to clone. When the last one is dropped the container is ended in the
/// background; [`stop`](Self::stop) waits until nothing of it is left. What a program that was
/// killed has left of its workspaces, [`Apptainer::reap`] takes away.
#[derive(Debug, Clone)]
pub struct Workspace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Apptainer,
    /// Of this workspace alone; let go of when that has ended.
    supervisor: Mutex<Option<Supervisor>>,
    service: Service,
    spec: Spec,
    /// What was built for it, which the store is not to take away meanwhile.
    image: Option<Image>,
    working_dir: PathBuf,
    /// What the host has at the working directory.
    mount_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    /// The one that there is, once that was asked for.
    git: OnceCell<Git>,
    files: Files,
    sessions: Mutex<HashMap<String, Session>>,
}

impl Apptainer {
    /// A workspace on an image: a reference, the path of a SIF file or a sandbox, or a
    /// [`Definition`](crate::image::Definition), which is built first.
    pub fn workspace(&self, source: impl Into<Source>) -> WorkspaceBuilder {
        WorkspaceBuilder::new(self.clone(), source.into())
    }
}

impl Workspace {
    /// Where commands run, unless they say otherwise.
    pub fn working_dir(&self) -> &Path {
        &self.shared.working_dir
    }

    /// The instance that it is: its name, state, ports, logs.
    pub fn service(&self) -> &Service {
        &self.shared.service
    }

    /// A shell line to run: `/bin/sh -c LINE`.
    ///
    /// Each has a shell of its own: for one that keeps its state, see [`session`](Self::session).
    pub fn execute(&self, line: impl AsRef<OsStr>) -> Execute {
        Execute::new(self, line.as_ref())
    }

    /// A program to run, with its arguments as they are, in the working directory.
    ///
    /// # Errors
    ///
    /// The workspace has ended.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, WorkspaceError> {
        let mut command = self.shared.service.command(program)?;
        command.current_dir(&self.shared.working_dir);
        Ok(command)
    }

    /// A shell to open under this name, which keeps its working directory, variables and functions
    /// from one line to the next.
    pub fn session(&self, name: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(self, name.into())
    }

    /// The open session of this name.
    pub fn find_session(&self, name: impl AsRef<str>) -> Option<Session> {
        self.sessions().get(name.as_ref()).cloned()
    }

    /// Its files: to read, write and list, and to copy in and out. Paths that do not begin with a
    /// slash begin in the working directory.
    pub fn files(&self) -> &Files {
        &self.shared.files
    }

    /// What tells of the changes to repositories in it: the image's own git, or the host's through the
    /// directory that was [mounted](WorkspaceBuilder::mount_dir) where the image has none.
    /// [`Git::which`] says which. Cancel-safe.
    ///
    /// # Errors
    ///
    /// There is no git, or it cannot be run.
    pub async fn git(&self) -> Result<&Git, WorkspaceError> {
        let git = self.shared.git.get_or_try_init(|| self.find_git()).await;
        Ok(git?)
    }

    async fn find_git(&self) -> Result<Git, GitError> {
        let (service, directory) = (self.shared.service.clone(), self.working_dir());
        let image = Git::new(move |program| service.any_command(program), directory);
        match (image.which().await, &self.shared.mount_dir) {
            (Err(GitError::NoGit), Some(mount)) => {
                let host = Git::on_host(mount, directory, directory);
                host.which().await.map(|_| host)
            }
            (found, _) => found.map(|_| image),
        }
    }

    /// What has been changed in the repositories of a directory: see [`Git::changes`].
    pub async fn git_changes(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Vec<GitChange>, WorkspaceError> {
        Ok(self.git().await?.changes(path, None).await?)
    }

    /// A file as it was, and as it is: see [`Git::diff`].
    pub async fn git_diff(&self, path: impl AsRef<Path>) -> Result<GitDiff, WorkspaceError> {
        Ok(self.git().await?.diff(path, None).await?)
    }

    /// The port of this name, if it has one: see
    /// [`WorkspaceBuilder::port`].
    pub fn port(&self, name: impl AsRef<str>) -> Option<u16> {
        self.shared.service.port(name)
    }

    /// Whether it runs: not whether its health check, if it has one, has passed.
    pub fn is_alive(&self) -> bool {
        self.state().is_running()
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.shared.service.state()
    }

    /// What it uses.
    pub async fn stats(&self) -> Result<Stats, WorkspaceError> {
        Ok(self.shared.service.stats().await?)
    }

    /// Halts all that runs in it, and says by what. Dropping the future does not call it off.
    pub async fn pause(&self) -> Result<Mechanism, WorkspaceError> {
        Ok(self.shared.service.pause().await?)
    }

    /// Lets it go on. Dropping the future does not call it off.
    pub async fn resume(&self) -> Result<(), WorkspaceError> {
        Ok(self.shared.service.resume().await?)
    }

    /// Ends it. When this returns nothing of it is left: no process, mount or file of ours. That
    /// it has ended already is no error. Dropping the future does not call it off.
    pub async fn stop(&self) -> Result<(), WorkspaceError> {
        let sessions = std::mem::take(&mut *self.sessions());
        for session in sessions.into_values() {
            session.kill();
        }
        self.shared.service.stop().await?;
        let supervisor = self.shared.supervisor.lock();
        supervisor.unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    /// A path in the container as it is meant: below the working directory, if it is not absolute.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.shared.working_dir.join(path)
    }

    /// The sessions that are open.
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        let sessions = self.shared.sessions.lock();
        let mut sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.is_open());
        sessions
    }
}
