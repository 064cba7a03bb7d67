//! From a reference to an image that can be run.

use std::ffi::OsStr;
use std::fs;
use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::sif::Sif;

use super::patience::Patience;
use super::progress::{Listener, Phase, Progress};
use super::store::{Form, InUse, Key, Stores, now_millis};
use super::{
    Compression, Conversion, Image, ImageError, Inner, Platform, PullPolicy, Reference,
    ReferenceError, Resolution, Rootfs, SignaturePolicy, Signatures, deadline, signature,
};
use crate::Apptainer;
use crate::blocking::blocking;

/// An image on its way: await it.
///
/// Dropped midway it leaves nothing half: what was started is killed, and what was
/// written is removed, but for layers that have come, which the next attempt goes on with.
/// What is whole by then stays, as an image that is still to be extracted.
#[derive(Clone)]
#[must_use = "an image is fetched when this is awaited"]
pub struct Acquire {
    pub(super) client: Apptainer,
    reference: Result<Reference, ReferenceError>,
    pub(super) platform: Platform,
    pub(super) policy: PullPolicy,
    pub(super) conversion: Conversion,
    pub(super) limit: Duration,
    pub(super) no_https: bool,
    retries: u32,
    signatures: SignaturePolicy,
    pub(super) listener: Listener,
}

impl Apptainer {
    /// The image that `reference` names: a URI (`docker://alpine:3`, `oras://`,
    /// `library://`, `shub://`, `http(s)://`, `docker-archive:`, `oci:`,
    /// `oci-archive:`), or the path of a SIF file or a sandbox directory.
    ///
    /// What a URI names is fetched once and kept in the store. Ask for it at the
    /// same time as often as you like, in as many processes: one fetches it, and the others
    /// wait, and are told for [whom](super::Holder).
    ///
    /// ```no_run
    /// # async fn example(apptainer: apptainer::Apptainer) -> Result<(), apptainer::Error> {
    /// let image = apptainer
    ///     .image("docker://debian:12")
    ///     .on_progress(|progress| eprintln!("{:?}: {} bytes", progress.phase, progress.bytes))
    ///     .await?;
    /// println!("{} is run from {}", image.reference(), image.path().display());
    /// # Ok(())
    /// # }
    /// ```
    pub fn image(&self, reference: impl AsRef<OsStr>) -> Acquire {
        Acquire {
            client: self.clone(),
            reference: Reference::parse(reference),
            platform: Platform::host(),
            policy: PullPolicy::default(),
            conversion: Conversion::default(),
            limit: Duration::from_secs(3600),
            no_https: false,
            retries: 3,
            signatures: SignaturePolicy::default(),
            listener: Listener::default(),
        }
    }
}

impl Acquire {
    /// When the registry is asked what a tag stands for: an hour after it was last asked,
    /// otherwise.
    pub fn policy(mut self, policy: PullPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The machines that the image is to be for: such as this one, otherwise.
    ///
    /// Others' programs run here only where something emulates those.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// What the SIF file is to be compressed with, where it is made here: what Apptainer takes
    /// by itself, otherwise.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.conversion.compression = Some(compression);
        self
    }

    /// Who must have signed the image: it need not be signed, otherwise.
    ///
    /// It is checked each time, of what is in the store too. What is made of layers is never
    /// signed.
    pub fn signatures(mut self, policy: SignaturePolicy) -> Self {
        self.signatures = policy;
        self
    }

    /// How long fetching, and extracting, may take each, and waiting for somebody else to do so:
    /// an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How often the registry is asked again that was busy, or broke off: 3 times otherwise,
    /// each after a longer pause, from about half a second on.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Speaks HTTP to the registry.
    ///
    /// [`Builder::http_registry`](crate::Builder::http_registry) says so once for
    /// a registry.
    pub fn no_https(mut self) -> Self {
        self.no_https = true;
        self
    }

    /// Calls `call` when a phase begins and, within one, now and then.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(call);
        self
    }

    async fn acquire(self) -> Result<Image, ImageError> {
        let reference = self.reference.clone()?;
        let image = match reference.as_path() {
            Some(path) => self.local(&reference, path).await?,
            None => self.named(&reference).await?,
        };
        self.listener.enter(Phase::Done);
        Ok(image)
    }

    /// What lies at a path.
    async fn local(&self, reference: &Reference, path: &Path) -> Result<Image, ImageError> {
        let path = path.to_owned();
        let found = blocking(move || local(&path)).await?;
        match found {
            Local::Sandbox(path) => Ok(Image::new(Inner {
                client: self.client.clone(),
                reference: reference.clone(),
                resolution: None,
                signatures: self.check_signatures(&path).await?,
                sif: None,
                path,
                rootfs: Rootfs::Sandbox,
                in_use: Vec::new(),
            })),
            Local::Sif(path, key) => self.runnable(reference, path, &key, None, None).await,
        }
    }

    /// What a URI names, made if it is not there.
    async fn named(&self, reference: &Reference) -> Result<Image, ImageError> {
        let began = now_millis();
        let (this, named) = (self.clone(), reference.clone());
        let look = move || {
            let stores = this.client.stores()?;
            let resolved = this.recorded(&named, &stores)?;
            let entry = match &resolved {
                Some(resolved) => stores.find(Form::Sif, &this.key(&resolved.source))?,
                None => None,
            };
            Ok::<_, ImageError>((stores, resolved, entry))
        };
        let (stores, resolved, mut entry) = blocking(look).await?;
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => self.ask(reference, &stores, began).await?,
        };
        let key = self.key(&resolved.source);
        let resolution = resolved.resolution.clone();
        if entry.is_none() {
            entry = self.find(&stores, Form::Sif, &key).await?;
        }
        let entry = match entry {
            Some(entry) => entry,
            None if self.policy == PullPolicy::Never && !reference.is_local() => {
                return Err(self.offline(reference));
            }
            None => self.make(reference, &stores, &key, resolved).await?,
        };
        let path = entry.path(Form::Sif.content());
        self.runnable(reference, path, &key, Some(entry), Some(resolution))
            .await
    }

    /// The image that can be run, extracted where a SIF file cannot.
    async fn runnable(
        &self,
        reference: &Reference,
        sif: PathBuf,
        key: &Key,
        entry: Option<InUse>,
        resolution: Option<Resolution>,
    ) -> Result<Image, ImageError> {
        let rootfs = self.client.rootfs().await;
        let mut image = Inner {
            client: self.client.clone(),
            reference: reference.clone(),
            resolution,
            signatures: self.check_signatures(&sif).await?,
            path: sif.clone(),
            sif: Some(sif),
            rootfs,
            in_use: entry.into_iter().collect(),
        };
        if rootfs == Rootfs::Sandbox {
            let stores = self.stores().await?;
            let sandbox = self.extracted(reference, &image.path, key, &stores);
            let sandbox = sandbox.await?;
            image.path = sandbox.path(Form::Sandbox.content());
            image.in_use.push(sandbox);
        }
        Ok(Image::new(image))
    }

    async fn check_signatures(&self, image: &Path) -> Result<Signatures, ImageError> {
        if self.signatures == SignaturePolicy::Ignore {
            return Ok(Signatures::default());
        }
        self.listener.enter(Phase::Verifying);
        let checked = signature::check(&self.client, image, &self.signatures, self.limit);
        Ok(checked.await?)
    }

    pub(super) async fn stores(&self) -> Result<Arc<Stores>, ImageError> {
        let client = self.client.clone();
        blocking(move || client.stores()).await
    }

    pub(super) async fn find(
        &self,
        stores: &Arc<Stores>,
        form: Form,
        key: &Key,
    ) -> Result<Option<InUse>, ImageError> {
        let (stores, key) = (Arc::clone(stores), key.clone());
        blocking(move || stores.find(form, &key)).await
    }

    pub(super) fn patience<'a>(&'a self, reference: &'a Reference) -> Patience<'a> {
        Patience {
            reference,
            limit: self.limit,
            deadline: deadline(self.limit),
            retries: self.retries,
            listener: &self.listener,
        }
    }
}

/// What a path leads to.
enum Local {
    Sif(PathBuf, Key),
    Sandbox(PathBuf),
}

fn local(path: &Path) -> Result<Local, ImageError> {
    let not_found = |source| ImageError::NotFound {
        path: path.to_owned(),
        source,
    };
    let path = fs::canonicalize(path).map_err(not_found)?;
    if path.is_dir() {
        return Ok(Local::Sandbox(path));
    }
    check(&path)?;
    let key = Key::of_file(&path).map_err(not_found)?;
    Ok(Local::Sif(path, key))
}

/// Refuses what is no SIF file, or not a whole one.
pub(super) fn check(path: &Path) -> Result<(), ImageError> {
    match Sif::open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(ImageError::Invalid {
            path: path.to_owned(),
            source,
        }),
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Image, ImageError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}
