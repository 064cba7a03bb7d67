//! How a workspace is to be.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use super::{Shared, Source, Workspace, WorkspaceError};
use crate::instance::{FillLayer, Limits, Port, Spec};
use crate::{Apptainer, Contain, Image};

/// How a workspace is to be: from [`Apptainer::workspace`].
#[derive(Debug, Clone)]
#[must_use = "a workspace is not there until it is started"]
pub struct WorkspaceBuilder {
    client: Apptainer,
    source: Source,
    /// Of an image that is put in later.
    spec: Spec,
    working_dir: PathBuf,
    mount_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    is_fakeroot: bool,
}

impl WorkspaceBuilder {
    pub(super) fn new(client: Apptainer, source: Source) -> Self {
        Self {
            client,
            source,
            spec: Spec::new("").temporary_overlay().contain(Contain::Docker),
            working_dir: "/workspace".into(),
            mount_dir: None,
            runtime_dir: None,
            is_fakeroot: true,
        }
    }

    /// Where commands run: an absolute path in the container, made where it is not there;
    /// `/workspace` otherwise.
    pub fn working_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_dir = path.into();
        self
    }

    /// Has this directory of the host be its working directory.
    pub fn mount_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.mount_dir = Some(path.into());
        self
    }

    /// Has a file or directory of the host in the container.
    pub fn bind(self, source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        self.with_spec(|spec| spec.bind(source, destination))
    }

    /// Sets a variable for all that runs in it.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_spec(|spec| spec.env(name, value))
    }

    /// Has it have the caller's variable of this name, if there is one when it is started.
    pub fn forward_env(self, name: impl Into<String>) -> Self {
        self.with_spec(|spec| spec.forward_env(name))
    }

    /// Keeps a port for it.
    pub fn port(self, port: Port) -> Self {
        self.with_spec(|spec| spec.port(port))
    }

    /// What it may use.
    pub fn limits(self, limits: Limits) -> Self {
        self.with_spec(|spec| spec.limits(limits))
    }

    /// Whether its user is root inside, as far as that goes without being root outside: yes, unless
    /// this says no, so that all of the image can be changed. Where the host has no ranges of
    /// subordinate ids for the user, see `/etc/subuid`, that is less, or not at all.
    pub fn fakeroot(mut self, is_root: bool) -> Self {
        self.is_fakeroot = is_root;
        self
    }

    /// Changes anything else of the instance that it is.
    ///
    /// It begins as one that is [contained](Contain::Docker), with a
    /// [temporary overlay](Spec::temporary_overlay) on disk, and nothing that runs in it.
    pub fn with_spec(mut self, change: impl FnOnce(Spec) -> Spec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// Where its writable layer is, among others: see
    /// [`SupervisorBuilder::runtime_dir`](crate::instance::SupervisorBuilder::runtime_dir).
    pub fn runtime_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime_dir = Some(path.into());
        self
    }

    /// Has its image, starts it, and returns when commands can be run.
    ///
    /// Everything that is wrong with its description is said at once, before anything is started.
    /// Dropping the future ends what has been started.
    pub async fn start(self) -> Result<Workspace, WorkspaceError> {
        if !self.working_dir.is_absolute() {
            return Err(WorkspaceError::Relative {
                path: self.working_dir,
            });
        }
        let mut spec = self.spec;
        if self.is_fakeroot && !nix::unistd::geteuid().is_root() {
            spec = spec.fakeroot();
        }
        let image = match self.source {
            Source::Image(reference) => {
                spec.set_image(reference);
                None
            }
            Source::Ready(image) => Some(image),
            Source::Definition(definition) => Some(self.client.build(*definition).await?),
        };
        if let Some(image) = &image {
            spec.set_image(image.path().to_string_lossy());
        }
        if let Some(path) = &self.mount_dir {
            spec = spec.bind(path, &self.working_dir);
        }
        let start = Start {
            client: self.client,
            spec,
            image,
            working_dir: self.working_dir,
            mount_dir: self.mount_dir,
            runtime_dir: self.runtime_dir,
        };
        let workspace = start.with(None).await?;
        workspace
            .files()
            .make_dir_all(workspace.working_dir())
            .await?;
        Ok(workspace)
    }
}

/// A workspace to start.
pub(super) struct Start {
    pub(super) client: Apptainer,
    pub(super) spec: Spec,
    pub(super) image: Option<Image>,
    pub(super) working_dir: PathBuf,
    pub(super) mount_dir: Option<PathBuf>,
    pub(super) runtime_dir: Option<PathBuf>,
}

impl Start {
    /// With what this puts into its writable layer.
    pub(super) async fn with(
        self,
        fill: Option<Arc<FillLayer>>,
    ) -> Result<Workspace, WorkspaceError> {
        let mut supervisor = self.client.private_supervisor("workspace");
        if let Some(path) = &self.runtime_dir {
            supervisor = supervisor.runtime_dir(path);
        }
        let supervisor = supervisor.open().await?;
        let service = match fill {
            Some(fill) => supervisor.start_filled(&self.spec, fill).await?,
            None => supervisor.start(&self.spec).await?,
        };
        let files = service.files().beginning_in(&self.working_dir);
        Ok(Workspace {
            shared: Arc::new(Shared {
                client: self.client,
                supervisor: Mutex::new(Some(supervisor)),
                service,
                spec: self.spec,
                image: self.image,
                working_dir: self.working_dir,
                mount_dir: self.mount_dir,
                runtime_dir: self.runtime_dir,
                git: OnceCell::new(),
                files,
                sessions: Mutex::default(),
            }),
        })
    }
}
