//! `Apptainer`: the way in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apptainer_sys::command::{CommandError, GlobalOptions, Subcommand};
use apptainer_sys::process::Spawn;
use apptainer_sys::state::ConfigDir;
use apptainer_sys::{Install, InstallError, Version};

use crate::blocking::blocking;

/// An Apptainer to work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Apptainer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    install: Install,
    config_dir: ConfigDir,
    store_dir: PathBuf,
    http_registries: Vec<String>,
}

/// Settings for an [`Apptainer`].
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is looked for until `build` is called"]
pub struct Builder {
    program: Option<PathBuf>,
    config_dir: Option<PathBuf>,
    store_dir: Option<PathBuf>,
    http_registries: Vec<String>,
}

impl Apptainer {
    /// Finds Apptainer: the program that `APPTAINER_BIN` names, else `apptainer`
    /// on `PATH`, else a `singularity` that is Apptainer underneath.
    pub async fn discover() -> Result<Self, InstallError> {
        Self::builder().build().await
    }

    /// Settings other than the usual ones.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The program and what it can do.
    pub fn install(&self) -> &Install {
        &self.inner.install
    }

    /// The version of the program.
    pub fn version(&self) -> Version {
        self.inner.install.version()
    }

    /// Where images are kept.
    pub fn store_dir(&self) -> &Path {
        &self.inner.store_dir
    }

    pub(crate) fn config_dir(&self) -> &ConfigDir {
        &self.inner.config_dir
    }

    pub(crate) fn speaks_http(&self, registry: &str) -> bool {
        self.inner
            .http_registries
            .iter()
            .any(|host| host == registry)
    }

    /// `command` as a process to start, in this client's environment.
    pub(crate) fn invocation(
        &self,
        global: &GlobalOptions,
        command: &impl Subcommand,
    ) -> Result<Spawn, CommandError> {
        let mut spawn = self.inner.install.invocation(global, command)?;
        spawn.set_env("APPTAINER_CONFIGDIR", self.config_dir().path());
        Ok(spawn)
    }
}

impl Builder {
    /// The `apptainer` program to use, in place of looking for one.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Where Apptainer keeps its configuration and the records of instances;
    /// `~/.apptainer` otherwise. Instances are seen only below the same one.
    pub fn config_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_dir = Some(path.into());
        self
    }

    /// Where images are kept; `apptainer-rs` in the user's cache directory
    /// (`$XDG_CACHE_HOME`, `~/.cache`) otherwise.
    pub fn store_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(path.into());
        self
    }

    /// A registry to speak HTTP to in place of HTTPS, as it stands in references:
    /// `127.0.0.1:5000`.
    pub fn http_registry(mut self, host: impl Into<String>) -> Self {
        self.http_registries.push(host.into());
        self
    }

    /// Finds the program and asks for its version.
    pub async fn build(self) -> Result<Apptainer, InstallError> {
        // Starting a process blocks, for long where the program lies on a
        // network file system.
        blocking(move || self.build_blocking()).await
    }

    fn build_blocking(self) -> Result<Apptainer, InstallError> {
        let install = match &self.program {
            Some(program) => Install::at(program)?,
            None => Install::discover()?,
        };
        let output = |source| InstallError::Output {
            program: install.program().to_owned(),
            source,
        };
        let config_dir = match self.config_dir {
            Some(path) => ConfigDir::at(std::path::absolute(path).map_err(output)?),
            None => ConfigDir::of_this_user().map_err(output)?,
        };
        let store_dir = self.store_dir.unwrap_or_else(|| default_store(&config_dir));
        let store_dir = std::path::absolute(store_dir).map_err(output)?;
        Ok(Apptainer {
            inner: Arc::new(Inner {
                install,
                config_dir,
                store_dir,
                http_registries: self.http_registries,
            }),
        })
    }
}

fn default_store(config_dir: &ConfigDir) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")));
    match cache {
        Some(cache) => cache.join("apptainer-rs"),
        None => config_dir.path().join("apptainer-rs"),
    }
}
