//! From servers to this machine.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::convert::Work;
use super::digest::Hash;
use super::layout::{Layout, link};
use super::make::Making;
use super::patience::Patience;
use super::redact::redacted;
use super::registry::{Descriptor, Download, DownloadError, Held, Sessions, UrlFile};
use super::resolve::Resolved;
use super::store::{Root, Turn, store_error};
use super::{ImageError, OciReference, Options, Phase, Platform, RegistryError};
use crate::blocking::blocking;

/// A place in a layout and what belongs there.
struct Wanted<'a> {
    blob: &'a Descriptor,
    target: PathBuf,
}

/// What blobs are fetched with, and where they are kept until their image is finished.
struct Fetch<'a> {
    options: &'a Options,
    root: &'a Root,
    sessions: &'a Sessions,
    patience: Patience<'a>,
}

impl Options {
    pub(super) async fn sessions(&self, image: &OciReference) -> Result<Sessions, RegistryError> {
        Sessions::new(&self.client, image, self.no_https).await
    }

    /// Makes the SIF file `target` of an image in a registry.
    pub(super) async fn fetch_image(
        &self,
        image: &OciReference,
        resolved: Resolved,
        digest: &str,
        making: &Making,
        work: &Work<'_>,
        target: &Path,
    ) -> Result<(), ImageError> {
        let root = &making.root;
        let failed = |error| ImageError::registry(work.patience.subject, error);
        let sessions = self.sessions(image).await.map_err(failed)?;
        let found = if let Some(found) = resolved.found {
            found
        } else {
            let ask = || sessions.image(digest, &self.platform);
            work.patience.ask(ask).await?
        };
        let fetch = Fetch {
            options: self,
            root,
            sessions: &sessions,
            patience: work.patience,
        };
        if let Some(sif) = found.manifest.sif() {
            let target = target.to_owned();
            let wanted = vec![Wanted { blob: sif, target }];
            let fetched = fetch.all(&wanted).await;
            return fetch.clear_up(&wanted, fetched).await;
        }
        found.manifest.check_layers().map_err(failed)?;
        // Apptainer notes in the image what it was made of: this says it.
        let name = image.to_path();
        let layout = Layout::create(work.scratch.path().join(&name));
        let layout = layout.map_err(store_error(work.scratch.path()))?;
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        let mut known = HashSet::new();
        for blob in found.manifest.blobs() {
            // The same layer may be there several times.
            if known.insert(&blob.digest) {
                let target = layout.blob(&blob.digest);
                wanted.push(Wanted { blob, target });
            }
        }
        let steps = async {
            fetch.all(&wanted).await?;
            // What an index says of a platform has been looked at.
            if resolved.is_alone {
                let config = layout.blob(&found.manifest.config.digest);
                check_platform(&config, &self.platform).map_err(failed)?;
            }
            layout
                .finish(&found)
                .map_err(store_error(work.scratch.path()))?;
            let _slot = self.slot(work.patience.subject, root).await?;
            // Having waited for that takes nothing from the time for this.
            let work = self.work(work.patience.subject, making);
            work.make(target, format!("oci:{name}"), self.conversion)
                .await
        };
        fetch.clear_up(&wanted, Box::pin(steps).await).await
    }

    /// Fetches the SIF file `target` from a URL.
    pub(super) async fn fetch_file(
        &self,
        url: &str,
        work: &Work<'_>,
        target: &Path,
    ) -> Result<(), ImageError> {
        let ask = || UrlFile::ask(&self.client, url);
        let file = work.patience.ask(ask).await?;
        self.listener.enter(Phase::Fetching);
        self.listener.fetch([(redacted(url), None)]);
        let told = |bytes| self.listener.fetched(0, bytes);
        let held: Held = Arc::clone(work.scratch) as Held;
        let download = Download::Url(&file);
        let fetch = || download.fetch(target, Held::clone(&held), &told);
        let fetching = attempt(work.patience, target, fetch);
        self.listener.follow(fetching).await
    }
}

impl Fetch<'_> {
    /// Fetches what is not there, several at a time.
    async fn all(&self, wanted: &[Wanted<'_>]) -> Result<(), ImageError> {
        let listener = &self.options.listener;
        listener.enter(Phase::Fetching);
        let layers = wanted.iter();
        listener.fetch(layers.map(|wanted| (wanted.blob.digest.clone(), Some(wanted.blob.size))));
        let next = AtomicUsize::new(0);
        let worker = || async {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(wanted) = wanted.get(index) else {
                    return Ok(());
                };
                // Four of them would make a large future.
                Box::pin(self.one(index, wanted)).await?;
            }
        };
        let fetching = async { tokio::try_join!(worker(), worker(), worker(), worker()) };
        listener.follow(fetching).await.map(drop)
    }

    async fn one(&self, index: usize, wanted: &Wanted<'_>) -> Result<(), ImageError> {
        let Wanted { blob, target } = wanted;
        let name = blob.digest.replace(':', "-");
        let listener = &self.options.listener;
        let lock = self.root.lock("blob", &name);
        let turn = Turn::take(lock, self.patience.subject, self.patience.limit, listener).await?;
        let turn = Arc::new(turn);
        let held: Held = Arc::clone(&turn) as Held;
        let path = self.root.blobs().join(name);
        if !is_there(path.clone(), blob).await? {
            let part = path.with_extension("part");
            let told = |bytes| listener.fetched(index, bytes);
            let fetch = || self.sessions.fetch(blob, &part, &held, &told);
            attempt(self.patience, &part, fetch).await?;
            // Somebody else may have begun to write to it, too.
            if !turn.is_held() {
                let lost = "the lease on it was lost, for it could not be renewed in time";
                return Err(store_error(&path)(io::Error::other(lost)));
            }
            fs::rename(&part, &path).map_err(store_error(&path))?;
        }
        listener.fetched(index, blob.size);
        let (failed, target) = (store_error(target), target.clone());
        // Where it has to be copied that takes a while.
        blocking(move || link(&path, &target)).await.map_err(failed)
    }

    /// Gives up the blobs of an image that is finished, or for which there is no room; where
    /// something else went wrong the next attempt goes on with them.
    async fn clear_up(
        &self,
        wanted: &[Wanted<'_>],
        made: Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        if made.as_ref().err().is_none_or(ImageError::is_storage_full) {
            self.forget(wanted).await;
        }
        made
    }

    /// Gives up blobs, unless somebody else is about to use them.
    async fn forget(&self, wanted: &[Wanted<'_>]) {
        let names = wanted
            .iter()
            .map(|wanted| wanted.blob.digest.replace(':', "-"));
        let names: Vec<_> = names.collect();
        let root = self.root.clone();
        blocking(move || {
            for name in names {
                if let Ok(Some(_lock)) = root.lock("blob", &name).try_hold() {
                    let path = root.blobs().join(name);
                    let _ = fs::remove_file(path.with_extension("part"));
                    let _ = fs::remove_file(path);
                }
            }
        })
        .await;
    }
}

/// Refuses an image that says that it is for other machines. One that says nothing of that, or
/// nothing that is understood, is taken.
fn check_platform(config: &Path, wanted: &Platform) -> Result<(), RegistryError> {
    #[derive(Deserialize)]
    struct Config {
        os: String,
        architecture: String,
        #[serde(default)]
        variant: Option<String>,
    }
    /// More than any configuration has, in bytes.
    const MOST: u64 = 16 << 20;
    let mut bytes = Vec::new();
    let read = fs::File::open(config).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    let Ok(config) = serde_json::from_slice::<Config>(&bytes) else {
        tracing::debug!(?read, "an image does not say for which machines it is");
        return Ok(());
    };
    let offered = Platform::offered(&config.os, &config.architecture, config.variant.as_deref());
    match offered {
        Some(offered) if wanted.distance(&offered).is_none() => Err(RegistryError::NoPlatform {
            wanted: wanted.clone(),
            offered: vec![offered],
        }),
        _ => Ok(()),
    }
}

/// Whether a blob is there as a whole; what is not it is removed.
async fn is_there(path: PathBuf, blob: &Descriptor) -> Result<bool, ImageError> {
    let (digest, size) = (blob.digest.clone(), blob.size);
    let at = path.clone();
    let look = move || -> io::Result<bool> {
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found if found.as_ref().is_ok_and(|found| found.len() == size) => {}
            found => {
                found?;
                fs::remove_file(&path)?;
                return Ok(false);
            }
        }
        // A machine may have crashed before all of it was on disk.
        if Hash::of_file_like(&digest, &path)? == digest {
            return Ok(true);
        }
        fs::remove_file(&path)?;
        Ok(false)
    };
    blocking(look).await.map_err(store_error(&at))
}

async fn attempt<F>(
    patience: Patience<'_>,
    path: &Path,
    fetch: impl Fn() -> F,
) -> Result<(), ImageError>
where
    F: Future<Output = Result<(), DownloadError>>,
{
    let once = |deadline| {
        let fetched = fetch();
        async move {
            match tokio::time::timeout_at(deadline, fetched).await {
                Err(_) => Err(patience.timed_out()),
                Ok(Err(DownloadError::Io(error))) => Err(store_error(path)(error)),
                Ok(Err(DownloadError::Registry(error))) => {
                    Err(ImageError::registry(patience.subject, error))
                }
                Ok(Ok(())) => Ok(()),
            }
        }
    };
    patience.attempt(once).await
}
