//! An image, and what shapes a container made of it.

mod gpu;
mod mount;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use apptainer_sys::command::ActionOptions;
use serde::{Deserialize, Serialize};

pub use gpu::{AmdGpus, GpuDevice, GpuRequest, Gpus, MissingGpu, NvidiaGpus};
pub use mount::{BindMount, HomeDir, OverlayLayer};

use crate::variables::Variables;
use crate::{Apptainer, Image};

/// How much of the host a container does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contain {
    /// It sees the host's home, `/tmp`, devices, processes and environment:
    /// Apptainer's default.
    #[default]
    Nothing,
    /// A minimal `/dev`, and its own empty home and `/tmp`.
    Files,
    /// That, and its own processes, IPC and environment.
    All,
    /// As close to Docker as it gets: that, a writable layer in memory, which gives way
    /// to a writable overlay, and values taken without a shell.
    Docker,
}

/// Which GPUs' devices and libraries are brought into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gpu {
    /// Nvidia's.
    Nvidia,
    /// Nvidia's, set up by `nvidia-container-cli`, which shows a container no others than
    /// those that it is to have. Adds a writable layer in memory where there is no writable
    /// layer.
    NvidiaCli,
    /// AMD's.
    Rocm,
}

/// What a container is asked to be cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Something to bind is not on the host.
    #[error("bind {}: {source}", .path.display())]
    BindSource {
        /// The path on the host.
        path: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// The overlay is not on the host.
    #[error("use the overlay {}: {source}; make a directory, or an image with `apptainer overlay create`", .path.display())]
    Overlay {
        /// The path on the host.
        path: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
}

/// An image and what shapes a container made of it: a description, of which any
/// number of containers can be made.
///
/// [`start`](Self::start) makes an [`Instance`](crate::Instance) of it, and
/// [`command`](Self::command) a container for one command.
///
/// Nothing is checked until then; what does not fit is an error before anything
/// is started.
#[derive(Debug, Clone)]
#[must_use = "a container is a description until it is started or given a command"]
pub struct Container {
    pub(crate) image: Image,
    pub(crate) settings: Settings,
}

/// What is common to all commands in one container, or in one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) action: ActionOptions,
    pub(crate) contain: Contain,
    pub(crate) env: Variables,
    /// Variables for `apptainer` itself.
    pub(crate) host_env: Variables,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) binds: Vec<BindMount>,
    pub(crate) overlays: Vec<OverlayLayer>,
    /// Whether the image itself is written to.
    pub(crate) is_writable: bool,
}

impl Settings {
    /// The flags for making the container, with all that they name checked.
    pub(crate) fn checked(&self) -> Result<ActionOptions, ContainerError> {
        let mut action = self.action.clone();
        self.add_containment(&mut action);
        for bind in &self.binds {
            let source = on_host(bind.source()).map_err(|error| ContainerError::BindSource {
                path: bind.source().to_owned(),
                source: error,
            })?;
            action.mount(bind.mount_of(&source));
        }
        for overlay in &self.overlays {
            let path = on_host(overlay.path()).map_err(|error| ContainerError::Overlay {
                path: overlay.path().to_owned(),
                source: error,
            })?;
            action.overlay(overlay.layer_of(&path));
        }
        Ok(action)
    }

    fn add_containment(&self, action: &mut ActionOptions) {
        let has_writable_layer =
            self.is_writable || self.overlays.iter().any(|overlay| !overlay.is_read_only());
        match self.contain {
            Contain::Nothing => action,
            Contain::Files => action.contain(true),
            Contain::All => action.containall(true),
            // What `--compat` stands for, but for the layer in memory: Apptainer takes only
            // one that is writable.
            Contain::Docker if has_writable_layer => action
                .containall(true)
                .no_init(true)
                .no_umask(true)
                .no_eval(true),
            Contain::Docker => action.compat(true),
        };
    }

    /// What a command needs that joins an instance: the container is there
    /// already, so what shaped it is left out.
    pub(crate) fn for_joining(&self) -> Self {
        Self {
            binds: Vec::new(),
            overlays: Vec::new(),
            ..self.clone()
        }
    }
}

/// Whether a field is as it is when nothing is said about it.
pub(crate) fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The absolute form of a path that is there.
fn on_host(path: &Path) -> io::Result<PathBuf> {
    std::fs::metadata(path)?;
    std::path::absolute(path)
}

impl Image {
    /// A container of this image, as Apptainer makes them by default.
    pub fn container(&self) -> Container {
        Container {
            image: self.clone(),
            settings: Settings::default(),
        }
    }
}

impl Container {
    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn client(&self) -> &Apptainer {
        self.image.client()
    }

    /// Shows `source` of the host at `destination`, for reading and writing.
    pub fn bind(self, source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        self.bound(BindMount::new(source, destination))
    }

    /// Shows `source` of the host at `destination`, for reading.
    pub fn bind_read_only(
        self,
        source: impl Into<PathBuf>,
        destination: impl Into<PathBuf>,
    ) -> Self {
        self.bound(BindMount::new(source, destination).read_only())
    }

    fn bound(mut self, bind: BindMount) -> Self {
        self.settings.binds.push(bind);
        self
    }

    /// Sets a variable for everything that runs in the container.
    ///
    /// The value arrives as it is, whatever it holds. The name must be one that a
    /// shell can set, and not `HOME`.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.settings.env.push(pair);
        self
    }

    /// Gives it none of the host's environment but `TERM` and proxies.
    pub fn clean_env(mut self) -> Self {
        self.settings.action.cleanenv(true);
        self
    }

    /// Where its commands run, unless they say otherwise: a path in the container.
    ///
    /// Otherwise they run in the caller's working directory where the container
    /// has that too, and in the home directory or `/` where it has not.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.current_dir = Some(path.into());
        self
    }

    /// Lays a writable directory, or an overlay image, over the image. What is
    /// written stays there.
    pub fn overlay(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.overlays.push(OverlayLayer::new(path));
        self
    }

    /// Lays a writable layer in memory over the image, lost at the end.
    ///
    /// It holds 64 MiB, unless the administrator chose another size.
    pub fn writable_tmpfs(mut self) -> Self {
        self.settings.action.writable_tmpfs(true);
        self
    }

    /// How much of the host it does not see.
    pub fn contain(mut self, level: Contain) -> Self {
        self.settings.contain = level;
        self
    }

    /// Brings in GPUs.
    pub fn gpu(mut self, gpu: Gpu) -> Self {
        GpuRequest::all(gpu).add_to(&mut self.settings);
        self
    }

    /// Makes the user root inside, and only there.
    pub fn fakeroot(mut self) -> Self {
        self.settings.action.fakeroot(true);
        self
    }

    /// Takes root's privileges away, when root starts it.
    pub fn no_privileges(mut self) -> Self {
        self.settings.action.no_privs(true);
        self
    }

    /// Everything else that Apptainer's flags can say.
    pub fn flags(mut self, set: impl FnOnce(&mut ActionOptions)) -> Self {
        set(&mut self.settings.action);
        self
    }
}
