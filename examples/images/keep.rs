//! `images pin`, `images unpin` and `images remove`

use std::io::{Write, stdout};

use apptainer::image::{Store, StoredImage};
use clap::Args;

use crate::{Result, list, select};

#[derive(Args)]
pub(crate) struct Named {
    /// What it is called, or its id, digest or path
    reference: String,
}

impl Named {
    pub(crate) async fn pin(self, store: &Store) -> Result<()> {
        for image in select::all(store, &self.reference).await? {
            store.pin(&image).await?;
            say("pinned", &image)?;
        }
        Ok(())
    }

    pub(crate) async fn unpin(self, store: &Store) -> Result<()> {
        for image in select::all(store, &self.reference).await? {
            store.unpin(&image).await?;
            say("unpinned", &image)?;
        }
        Ok(())
    }

    /// Takes away what can be, and says at the end what could not.
    pub(crate) async fn remove(self, store: &Store) -> Result<()> {
        let mut failed = None;
        for image in select::all(store, &self.reference).await? {
            match store.remove(&image).await {
                Ok(()) => say("removed", &image)?,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

pub(crate) fn say(done: &str, image: &StoredImage) -> Result<()> {
    let (id, form) = (list::short(&image.id), list::form(image.form));
    writeln!(stdout(), "{done} {id} {} ({form})", image.reference)?;
    Ok(())
}
