//! `Apptainer`: the way in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use apptainer_sys::command::{CommandError, GlobalOptions, Subcommand};
use apptainer_sys::process::Spawn;
use apptainer_sys::state::ConfigDir;
use apptainer_sys::{Install, InstallError, Version};

use crate::blocking::blocking;
use crate::image::registry;
use crate::image::store::{Access, Stores};
use crate::image::{ImageError, Locking, Rootfs};

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
    shared_stores: Vec<PathBuf>,
    access: Access,
    registries: registry::Settings,
    conversions: usize,
    tmp_dir: Option<PathBuf>,
    locking: Option<Locking>,
    stores: Mutex<Option<Arc<Stores>>>,
    rootfs: OnceLock<Rootfs>,
}

/// Settings for an [`Apptainer`].
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is looked for until `build` is called"]
pub struct Builder {
    program: Option<PathBuf>,
    config_dir: Option<PathBuf>,
    store_dir: Option<PathBuf>,
    shared_stores: Vec<PathBuf>,
    trusted: Vec<u32>,
    registries: registry::Settings,
    conversions: Option<usize>,
    tmp_dir: Option<PathBuf>,
    locking: Option<Locking>,
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

    pub(crate) fn registries(&self) -> &registry::Settings {
        &self.inner.registries
    }

    /// How many images are made at the same time.
    pub(crate) fn conversions(&self) -> usize {
        self.inner.conversions
    }

    /// Where images are unpacked, if not in the store.
    pub(crate) fn tmp_dir(&self) -> Option<&Path> {
        self.inner.tmp_dir.as_deref()
    }

    /// Where images are kept, looked at once. Blocks.
    pub(crate) fn stores(&self) -> Result<Arc<Stores>, ImageError> {
        let inner = &self.inner;
        let mut stores = inner.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stores) = stores.as_ref().filter(|stores| stores.are_there()) {
            return Ok(Arc::clone(stores));
        }
        let opened = Stores::open(
            &inner.store_dir,
            &inner.shared_stores,
            &inner.access,
            inner.locking,
        )?;
        Ok(Arc::clone(stores.insert(Arc::new(opened))))
    }

    /// How the files of a SIF file reach a container here, found out once.
    pub async fn rootfs(&self) -> Rootfs {
        if let Some(rootfs) = self.inner.rootfs.get() {
            return *rootfs;
        }
        let client = self.clone();
        blocking(move || {
            let rootfs = client
                .inner
                .rootfs
                .get_or_init(|| Rootfs::for_sif_files(&client));
            *rootfs
        })
        .await
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

    /// Stores that others fill, which are looked through after one's own, and never written to.
    ///
    /// Whoever owns the directory can have anything run by who names it here: choose one of
    /// root's, or of somebody who is trusted with that.
    pub fn shared_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.shared_stores.push(path.into());
        self
    }

    /// Takes images, too, that the user of this number has put into a store that several
    /// users write to. Root is always trusted.
    pub fn trust_user(mut self, user: u32) -> Self {
        self.trusted.push(user);
        self
    }

    /// Where images are unpacked and built: `APPTAINER_TMPDIR` otherwise, and where that is not
    /// set, in the store. On a disk of this machine's that is faster than on one that nodes
    /// share.
    ///
    /// It has to be there, and programs must be allowed to run from it. A directory of this user's
    /// and this machine's is made in it.
    pub fn tmp_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.tmp_dir = Some(path.into());
        self
    }

    /// Which kind of lock the store is to have, where it is new: what counts on all nodes that
    /// share its file system, as far as that [can be found out](Locking::detect), otherwise.
    pub fn locking(mut self, locking: Locking) -> Self {
        self.locking = Some(locking);
        self
    }

    /// How many images are fetched and made at the same time on this machine, of all who use
    /// the store: half as many as there are processors otherwise, for making one takes
    /// several.
    pub fn conversions(mut self, most: usize) -> Self {
        self.conversions = Some(most.max(1));
        self
    }

    /// A registry to speak HTTP to in place of HTTPS, as it stands in references:
    /// `127.0.0.1:5000`.
    pub fn http_registry(mut self, host: impl Into<String>) -> Self {
        self.registries.http.push(host.into());
        self
    }

    /// A registry that is asked before another, as they stand in references: for `docker.io`,
    /// `mirror.example.org:5000`. The other is asked where it does not have something, or does
    /// not answer.
    ///
    /// What a tag stands for is then the mirror's to say.
    pub fn mirror(mut self, registry: impl Into<String>, mirror: impl Into<String>) -> Self {
        self.registries
            .mirrors
            .push((registry.into(), mirror.into()));
        self
    }

    /// A file of certificates, in PEM, of authorities that registries' certificates may be
    /// from, besides the machine's own.
    ///
    /// Those for one registry are also found where Docker and Podman look for them, in
    /// `/etc/docker/certs.d`, `/etc/containers/certs.d` and `~/.config/containers/certs.d`.
    pub fn certificate_authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.registries.authorities.push(path.into());
        self
    }

    /// The file of credentials to use, in Docker's format, in place of those that Apptainer,
    /// Podman and Docker write.
    pub fn auth_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.registries.auth_file = Some(path.into());
        self
    }

    /// Credentials for a registry, or for what lies below a name in it: `quay.io/team`.
    pub fn login(
        mut self,
        registry: impl Into<String>,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let (username, password) = (username.into(), password.into());
        self.registries.log_in(registry.into(), username, password);
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
        let tmp_dir = self.tmp_dir.or_else(|| variable("APPTAINER_TMPDIR"));
        let tmp_dir = tmp_dir.map(std::path::absolute).transpose();
        let tmp_dir = tmp_dir.map_err(output)?;
        Ok(Apptainer {
            inner: Arc::new(Inner {
                install,
                config_dir,
                store_dir,
                shared_stores: self.shared_stores,
                access: Access::new(&self.trusted),
                registries: self.registries,
                conversions: self.conversions.unwrap_or_else(default_conversions),
                tmp_dir,
                locking: self.locking,
                stores: Mutex::default(),
                rootfs: OnceLock::new(),
            }),
        })
    }
}

/// A path that a variable has.
fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

fn default_conversions() -> usize {
    let processors = std::thread::available_parallelism();
    processors.map_or(1, |count| count.get().div_ceil(2))
}

fn default_store(config_dir: &ConfigDir) -> PathBuf {
    let cache = variable("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".cache")));
    match cache {
        Some(cache) => cache.join("apptainer-rs"),
        None => config_dir.path().join("apptainer-rs"),
    }
}
