//! From a reference to an image that can be run.

use std::ffi::OsStr;
use std::fs;
use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::sif::Sif;

use super::progress::{Listener, Phase, Progress};
use super::pull::Work;
use super::scratch::Scratch;
use super::store::{Entry, Key, Store, store_error};
use super::turn::Turn;
use super::{Image, ImageError, Inner, Reference, ReferenceError, Rootfs};
use crate::Apptainer;
use crate::blocking::blocking;

/// An image on its way: await it.
///
/// Dropped midway it leaves nothing half: what was started is killed, and what was
/// written is removed. What is whole by then stays, as an image that is still to be extracted.
#[must_use = "an image is fetched when this is awaited"]
pub struct Acquire {
    client: Apptainer,
    reference: Result<Reference, ReferenceError>,
    limit: Duration,
    no_https: bool,
    retries: u32,
    listener: Listener,
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
            limit: Duration::from_secs(3600),
            no_https: false,
            retries: 3,
            listener: Listener::default(),
        }
    }
}

impl Acquire {
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
        let store = self.open_store().await?;
        let fetched = match reference.as_path() {
            Some(path) => local(path)?,
            None => self.fetched(&reference, &store).await?,
        };
        let image = |sif, path, rootfs| Image {
            inner: Arc::new(Inner {
                client: self.client.clone(),
                reference: reference.clone(),
                sif,
                path,
                rootfs,
            }),
        };
        let (sif, key) = match fetched {
            Found::Sandbox(path) => return Ok(image(None, path, Rootfs::Sandbox)),
            Found::Sif(sif, key) => (sif, key),
        };
        let rootfs = self.rootfs().await;
        let path = match rootfs {
            Rootfs::Sandbox => self.extracted(&reference, &sif, &key, &store).await?,
            Rootfs::Fuse | Rootfs::Kernel => sif.clone(),
        };
        Ok(image(Some(sif), path, rootfs))
    }

    async fn open_store(&self) -> Result<Store, ImageError> {
        let path = self.client.store_dir().to_owned();
        blocking(move || Store::open(&path)).await
    }

    async fn rootfs(&self) -> Rootfs {
        let client = self.client.clone();
        let rootfs = blocking(move || Rootfs::for_sif_files(&client)).await;
        if rootfs == Rootfs::Sandbox {
            tracing::warn!(
                "neither FUSE nor a kernel mount is open here: SIF files are extracted into sandboxes"
            );
        }
        rootfs
    }

    /// The image in the store, fetched if it is not there.
    async fn fetched(&self, reference: &Reference, store: &Store) -> Result<Found, ImageError> {
        let key = Key::of_uri(reference)?;
        let entry = store.entry(&key);
        if let Some(sif) = entry.sif().filter(|sif| check(sif).is_ok()) {
            return Ok(Found::Sif(sif, key));
        }
        let _turn = self.turn(reference, &key, store).await?;
        if let Some(sif) = entry.sif() {
            match check(&sif) {
                Ok(()) => return Ok(Found::Sif(sif, key)),
                Err(error) => {
                    tracing::warn!(%error, "fetching an image again that is damaged in the store");
                    entry.evict(&store.scratch()?)?;
                }
            }
        }
        let scratch = Arc::new(store.scratch()?);
        let made = entry_folder(&scratch)?;
        let target = made.join(Entry::SIF);
        let work = self.work(reference, &scratch);
        let pulled = work.pull(&target, self.no_https, self.retries).await;
        if pulled.is_ok() {
            self.listener.enter(Phase::Storing);
        }
        let (store, reference) = (store.clone(), reference.clone());
        let published = entry.clone();
        in_scratch(scratch, move || {
            pulled?;
            check(&target)?;
            store.publish(&made, &published, &reference)
        })
        .await?;
        Ok(Found::Sif(target_in(&entry)?, key))
    }

    /// The sandbox of an image, extracted if it is not there.
    async fn extracted(
        &self,
        reference: &Reference,
        sif: &Path,
        key: &Key,
        store: &Store,
    ) -> Result<PathBuf, ImageError> {
        let entry = store.entry(key);
        if let Some(sandbox) = entry.sandbox() {
            return Ok(sandbox);
        }
        let _turn = self.turn(reference, key, store).await?;
        if let Some(sandbox) = entry.sandbox() {
            return Ok(sandbox);
        }
        let scratch = Arc::new(store.scratch()?);
        if !entry.exists() {
            let made = entry_folder(&scratch)?;
            store.publish(&made, &entry, reference)?;
        }
        let made = scratch.path().join("sandbox");
        let extracted = self.work(reference, &scratch).extract(sif, &made).await;
        in_scratch(scratch, move || {
            extracted?;
            entry.publish_sandbox(&made)
        })
        .await
    }

    async fn turn(
        &self,
        reference: &Reference,
        key: &Key,
        store: &Store,
    ) -> Result<Turn, ImageError> {
        Turn::take(store, key, reference, self.limit, &self.listener).await
    }

    fn work<'a>(&'a self, reference: &'a Reference, scratch: &'a Arc<Scratch>) -> Work<'a> {
        Work {
            client: &self.client,
            reference,
            scratch,
            limit: self.limit,
            listener: &self.listener,
        }
    }
}

/// Does the last piece of work in a directory, and removes that, on a thread that
/// may block.
async fn in_scratch<T: Send + 'static>(
    scratch: Arc<Scratch>,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    blocking(move || {
        let done = work();
        drop(scratch);
        done
    })
    .await
}

/// What a reference led to.
enum Found {
    Sif(PathBuf, Key),
    Sandbox(PathBuf),
}

/// The image at a path.
fn local(path: &Path) -> Result<Found, ImageError> {
    let not_found = |source| ImageError::NotFound {
        path: path.to_owned(),
        source,
    };
    let path = fs::canonicalize(path).map_err(not_found)?;
    if path.is_dir() {
        return Ok(Found::Sandbox(path));
    }
    check(&path)?;
    let key = Key::of_file(&path).map_err(not_found)?;
    Ok(Found::Sif(path, key))
}

fn entry_folder(scratch: &Scratch) -> Result<PathBuf, ImageError> {
    let made = scratch.path().join("entry");
    fs::create_dir(&made).map_err(store_error(&made))?;
    Ok(made)
}

fn target_in(entry: &Entry) -> Result<PathBuf, ImageError> {
    entry.sif().ok_or_else(|| {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        store_error(Path::new(Entry::SIF))(gone)
    })
}

fn check(path: &Path) -> Result<(), ImageError> {
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
