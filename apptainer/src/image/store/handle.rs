//! A store as programs see it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::in_use::{InUse, Unused};
use super::layout::{Form, Root};
use super::scratch::{self, size_of};
use super::stored::{PINNED, StoredImage};
use super::stores::Stores;
use super::{Damage, Key, Prune, Pruned, Source, file_state, store_error};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::image::{ImageError, Locking, Platform, Reference};

/// The images that are kept, to be listed and cleared up.
///
/// ```no_run
/// # async fn example(apptainer: apptainer::Apptainer) -> Result<(), apptainer::Error> {
/// use apptainer::image::Prune;
/// use std::time::Duration;
///
/// let store = apptainer.store();
/// for image in store.list().await? {
///     println!("{} {} bytes, in use: {}", image.reference, image.size, image.is_in_use);
/// }
/// let month = Duration::from_secs(30 * 24 * 3600);
/// let pruned = store.prune(Prune::new().unused_for(month)).await?;
/// println!("{} bytes are free again", pruned.bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    client: Apptainer,
}

/// How much room a store takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// SIF files.
    pub images: u64,
    /// Images that were extracted.
    pub sandboxes: u64,
    /// Layers of images that are not finished, and all other unfinished work.
    pub unfinished: u64,
}

impl Usage {
    /// Everything together.
    pub fn total(&self) -> u64 {
        self.images + self.sandboxes + self.unfinished
    }
}

impl Apptainer {
    /// The images that are kept.
    pub fn store(&self) -> Store {
        Store {
            client: self.clone(),
        }
    }
}

impl Store {
    /// All images, those of shared stores too, the one that was used last first.
    pub async fn list(&self) -> Result<Vec<StoredImage>, ImageError> {
        self.with(|stores| {
            let mut found = Vec::new();
            for (root, is_shared) in stores.with_origin() {
                let images = StoredImage::all(root, is_shared);
                found.extend(images.map_err(store_error(root.path()))?);
            }
            found.sort_by_key(|image| std::cmp::Reverse(image.last_used));
            Ok(found)
        })
        .await
    }

    /// The images that a reference leads to, as far as that is known here: SIF files, for
    /// whichever platform and however compressed, and what was extracted from them. No registry
    /// is asked.
    pub async fn find(&self, reference: &Reference) -> Result<Vec<StoredImage>, ImageError> {
        let name = Key::of_name(reference, &Platform::host());
        let text = reference.to_string();
        let state = match reference.local_source() {
            Some(path) => blocking(move || file_state(&path)).await.ok(),
            None => None,
        };
        let mut found = self.list().await?;
        let named = self.with(move |stores| Ok(stores.name(&name))).await?;
        let named = named.map(|record| record.source);
        let source = named.or(state.map(Source::File));
        let is_it =
            |image: &StoredImage| image.reference == text || Some(&image.source) == source.as_ref();
        found.retain(is_it);
        Ok(found)
    }

    /// Which kind of lock counts in one's own store.
    pub async fn locking(&self) -> Result<Locking, ImageError> {
        self.with(|stores| Ok(stores.ours()?.locking())).await
    }

    /// How much room one's own store takes.
    pub async fn usage(&self) -> Result<Usage, ImageError> {
        self.with(|stores| {
            let root = stores.ours()?;
            let images = StoredImage::all(root, false).map_err(store_error(root.path()))?;
            let of = |form| images.iter().filter(move |image| image.form == form);
            Ok(Usage {
                images: of(Form::Sif).map(|image| image.size).sum(),
                sandboxes: of(Form::Sandbox).map(|image| image.size).sum(),
                unfinished: size_of(&root.blobs()) + size_of(&root.work()),
            })
        })
        .await
    }

    /// Keeps an image, whatever is pruned.
    pub async fn pin(&self, image: &StoredImage) -> Result<(), ImageError> {
        let folder = image.folder.clone();
        self.with(move |stores| {
            let path = folder.join(PINNED);
            writable(stores, &path)?;
            // Whoever takes it away has it alone, and looks whether it is pinned.
            let pin = || {
                let used = InUse::take(&folder)?.ok_or(io::ErrorKind::NotFound)?;
                File::create(&path)?;
                drop(used);
                Ok(())
            };
            pin().map_err(store_error(&path))
        })
        .await
    }

    /// Lets an image be pruned again.
    pub async fn unpin(&self, image: &StoredImage) -> Result<(), ImageError> {
        let path = image.folder.join(PINNED);
        self.with(move |stores| {
            writable(stores, &path)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.map_err(store_error(&path)),
            }
        })
        .await
    }

    /// Takes an image away, pinned or not; one that is in use stays, and is an error.
    ///
    /// Dropped midway, it goes on by itself.
    pub async fn remove(&self, image: &StoredImage) -> Result<(), ImageError> {
        let image = image.clone();
        self.with(move |stores| {
            let root = writable(stores, &image.folder)?;
            if remove(root, &image, Pinned::Too)? {
                return Ok(());
            }
            Err(ImageError::InUse {
                reference: image.reference,
                path: image.path,
            })
        })
        .await
    }

    /// Takes away what a policy says, and nothing that is in use or pinned.
    ///
    /// Dropped midway, it goes on by itself.
    pub async fn prune(&self, prune: Prune) -> Result<Pruned, ImageError> {
        self.with(move |stores| prune.apply(stores.ours()?)).await
    }

    /// Reads every image, and says which are not what they were when they were stored.
    ///
    /// Takes as long as reading all of them does.
    pub async fn verify(&self) -> Result<Vec<Damage>, ImageError> {
        let mut damaged = Vec::new();
        for image in self.list().await? {
            let checked = blocking(move || Damage::find(image)).await;
            damaged.extend(checked);
        }
        Ok(damaged)
    }

    pub(super) fn client(&self) -> &Apptainer {
        &self.client
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stores) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let client = self.client.clone();
        blocking(move || {
            let stores: Arc<Stores> = client.stores()?;
            work(&stores)
        })
        .await
    }
}

/// One's own store, if a path is in that.
fn writable<'a>(stores: &'a Stores, path: &Path) -> Result<&'a Root, ImageError> {
    let root = stores.ours()?;
    if path.starts_with(root.path()) {
        return Ok(root);
    }
    Err(ImageError::ReadOnlyStore {
        path: path.to_owned(),
    })
}

/// Whether an image is taken away that is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinned {
    Too,
    Stays,
}

/// Takes an image away, unless somebody uses it.
pub(super) fn remove(root: &Root, image: &StoredImage, pinned: Pinned) -> Result<bool, ImageError> {
    let failed = || store_error(&image.folder);
    let unused = match Unused::take(&image.folder, root.locking()) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        taken => taken.map_err(failed())?,
    };
    let Some(unused) = unused else {
        return Ok(false);
    };
    // Since it was listed.
    if pinned == Pinned::Stays && image.folder.join(PINNED).exists() {
        return Ok(false);
    }
    take_away(root, &image.folder, unused).map_err(failed())?;
    Ok(true)
}

/// Takes a directory away that nobody uses, whoever was faster.
pub(super) fn take_away(root: &Root, folder: &Path, unused: Unused) -> io::Result<()> {
    // Without a lock, for which there may be no room left: whoever finds it there removes it.
    let removed = scratch::unheld(&root.work());
    match fs::rename(folder, &removed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    drop(unused);
    if let Err(error) = scratch::remove_all(&removed) {
        tracing::debug!(%error, path = %removed.display(), "what was taken away is still there");
    }
    Ok(())
}
