//! From an image in a store to one that can be run.

use std::io;
use std::path::PathBuf;

use super::handle::Store;
use super::key::Key;
use super::{Form, InUse, StoredImage, store_error};
use crate::blocking::blocking;
use crate::image::{Image, ImageError, Inner, Options, Reference, Resolution, Rootfs, Signatures};

impl Store {
    /// A stored image, to be run or exported. It is in use from now on.
    ///
    /// Whatever it was asked for as or built from, and for whichever platform: that one. Nobody
    /// is asked whether there is a newer one.
    ///
    /// ```no_run
    /// # async fn example(apptainer: apptainer::Apptainer) -> Result<(), apptainer::Error> {
    /// let store = apptainer.store();
    /// if let Some(latest) = store.list().await?.first() {
    ///     let image = store.image(latest).await?;
    ///     image.export_sif("/srv/images/latest.sif").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn image(&self, image: &StoredImage) -> Result<Image, ImageError> {
        let folder = image.folder.clone();
        let take = move || {
            let entry = InUse::take(&folder).map_err(store_error(&folder))?;
            entry.ok_or_else(|| store_error(&folder)(io::ErrorKind::NotFound.into()))
        };
        let entry = blocking(take).await?;
        let path = entry.path(image.form.content());
        let reference = reference(image, &path);
        let resolution = resolution(image);
        let options = Options::new(self.client());
        match (image.form, Key::from_name(image.id.as_ref())) {
            (Form::Sif, Some(key)) => {
                let runnable = options.runnable(&reference, path, &key, Some(entry), resolution);
                runnable.await
            }
            _ => Ok(Image::new(Inner {
                client: self.client().clone(),
                reference,
                resolution,
                sif: None,
                path,
                rootfs: Rootfs::Sandbox,
                signatures: Signatures::default(),
                in_use: vec![entry],
            })),
        }
    }
}

/// What was built is called nothing but its path.
fn reference(image: &StoredImage, path: &PathBuf) -> Reference {
    let parsed = Reference::parse(&image.reference).ok();
    let named = parsed.filter(|reference| reference.scheme().is_some());
    named.unwrap_or_else(|| Reference::path(path))
}

/// What the registry said when it was fetched.
fn resolution(image: &StoredImage) -> Option<Resolution> {
    let digest = image.digest.clone()?;
    Some(Resolution {
        digest: Some(digest),
        asked: image.created,
        is_stale: false,
    })
}
