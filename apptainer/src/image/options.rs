//! How images are had, whatever they are called.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::sif::Sif;

use super::patience::Patience;
use super::progress::{Listener, Phase};
use super::resolve::{Resolved, Stage};
use super::store::{Form, InUse, Key, NameRecord, Source, Stores, now_millis};
use super::{
    Conversion, Image, ImageError, Inner, Platform, PullPolicy, Reference, Resolution, Rootfs,
    SignaturePolicy, Signatures, Subject, deadline, signature,
};
use crate::Apptainer;
use crate::blocking::blocking;

/// How images are had: what an [`Acquire`](super::Acquire) and a [`Build`](super::Build) are
/// told.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) client: Apptainer,
    pub(super) platform: Platform,
    pub(super) policy: PullPolicy,
    pub(super) conversion: Conversion,
    pub(super) limit: Duration,
    pub(super) no_https: bool,
    pub(super) retries: u32,
    pub(super) signatures: SignaturePolicy,
    pub(super) listener: Listener,
}

/// What a name led to, in the store.
struct Had {
    entry: InUse,
    key: Key,
    resolution: Resolution,
}

impl Options {
    pub(super) fn new(client: &Apptainer) -> Self {
        Self {
            client: client.clone(),
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

    /// The image that a reference names.
    pub(super) async fn image(&self, reference: &Reference) -> Result<Image, ImageError> {
        match reference.as_path() {
            Some(path) => self.local(reference, path).await,
            None => self.named(reference).await,
        }
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
        let (options, named) = (self.clone(), reference.clone());
        let look = move || {
            let stores = options.client.stores()?;
            let known = options.known(&named, &stores)?;
            Ok::<_, ImageError>((stores, known))
        };
        let (stores, known) = blocking(look).await?;
        let (resolved, entry) = match known {
            Some(known) => known,
            None => (self.ask(reference, &stores, began).await?, None),
        };
        let answer = resolved.answer.as_ref();
        let previous = answer.and_then(|answer| answer.previous.clone());
        let had = match self.entry(reference, &stores, resolved, entry).await {
            // It was said what the name stands for now, and that could not be had.
            Err(error) => {
                let old = self.fall_back(error, Stage::Making, previous, &stores);
                let old = old.await?;
                self.entry(reference, &stores, old, None).await?
            }
            Ok(had) => had,
        };
        self.runnable_entry(reference, had).await
    }

    /// What a URI stands for, and its entry if that is known to be there.
    pub(super) async fn resolve(
        &self,
        reference: &Reference,
        stores: &Arc<Stores>,
    ) -> Result<(Resolved, Option<InUse>), ImageError> {
        let began = now_millis();
        let (options, named, looked) = (self.clone(), reference.clone(), Arc::clone(stores));
        match blocking(move || options.known(&named, &looked)).await? {
            Some(known) => Ok(known),
            None => Ok((self.ask(reference, stores, began).await?, None)),
        }
    }

    /// The same where nobody has to be asked. Blocks.
    fn known(
        &self,
        reference: &Reference,
        stores: &Stores,
    ) -> Result<Option<(Resolved, Option<InUse>)>, ImageError> {
        let Some(resolved) = self.recorded(reference, stores)? else {
            return Ok(None);
        };
        let entry = stores.find(Form::Sif, &self.key(&resolved.source))?;
        Ok(Some((resolved, entry)))
    }

    /// The image that a URI stands for, made if it is not there.
    pub(super) async fn have(
        &self,
        reference: &Reference,
        stores: &Arc<Stores>,
        resolved: Resolved,
        entry: Option<InUse>,
    ) -> Result<Image, ImageError> {
        let had = self.entry(reference, stores, resolved, entry).await?;
        self.runnable_entry(reference, had).await
    }

    async fn runnable_entry(&self, reference: &Reference, had: Had) -> Result<Image, ImageError> {
        let path = had.entry.path(Form::Sif.content());
        let (entry, resolution) = (Some(had.entry), Some(had.resolution));
        self.runnable(reference, path, &had.key, entry, resolution)
            .await
    }

    /// The entry of what a URI stands for, made if it is not there; what was answered counts then.
    async fn entry(
        &self,
        reference: &Reference,
        stores: &Arc<Stores>,
        mut resolved: Resolved,
        mut entry: Option<InUse>,
    ) -> Result<Had, ImageError> {
        let mut key = self.key(&resolved.source);
        let resolution = resolved.resolution.clone();
        let answer = resolved.answer.take();
        let mut source = resolved.source.clone();
        if entry.is_none() {
            entry = self.find(stores, Form::Sif, &key).await?;
        }
        let mut entry = match entry {
            Some(entry) => entry,
            None if self.policy == PullPolicy::Never && !reference.is_local() => {
                return Err(self.offline(reference));
            }
            // What hits do not need is kept apart: it is large.
            None => Box::pin(self.make(reference, stores, &key, resolved)).await?,
        };
        if let Some(answer) = answer {
            if let Some(previous) = &answer.previous
                && let Some(same) = self.same(stores, &source, &entry, previous).await?
            {
                source = previous.source.clone();
                drop(std::mem::replace(&mut entry, same));
                let made = std::mem::replace(&mut key, self.key(&source));
                let stores = Arc::clone(stores);
                blocking(move || stores.discard(Form::Sif, &made)).await?;
            }
            let stores = Arc::clone(stores);
            blocking(move || answer.settle(source, &stores)).await?;
        }
        Ok(Had {
            entry,
            key,
            resolution,
        })
    }

    /// What was there before, where nobody could tell whether it has changed, and it turns out
    /// that it has not: then that stays, and what was made goes.
    async fn same(
        &self,
        stores: &Arc<Stores>,
        source: &Source,
        made: &InUse,
        previous: &NameRecord,
    ) -> Result<Option<InUse>, ImageError> {
        if !matches!(source, Source::At { .. }) || *source == previous.source {
            return Ok(None);
        }
        let before = self.key(&previous.source);
        let Some(before) = self.find(stores, Form::Sif, &before).await? else {
            return Ok(None);
        };
        let digest = |entry: &InUse| entry.record().ok().flatten()?.sif;
        let is_same = digest(made).is_some() && digest(made) == digest(&before);
        Ok(is_same.then_some(before))
    }

    /// The image that can be run, extracted where a SIF file cannot.
    pub(super) async fn runnable(
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

    /// The same for an image that nobody has to have signed.
    pub(super) fn unsigned(&self) -> Self {
        Self {
            signatures: SignaturePolicy::Ignore,
            ..self.clone()
        }
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

    pub(super) fn patience<'a>(&'a self, subject: Subject<'a>) -> Patience<'a> {
        Patience {
            subject,
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
