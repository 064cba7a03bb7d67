//! A registry and its mirrors.

use std::path::Path;

use super::RegistryError;
use super::download::{Download, DownloadError, Held};
use super::manifest::Descriptor;
use super::session::{Found, Session};
use crate::Apptainer;
use crate::image::{OciReference, Platform};

/// Conversations about one repository: with the mirrors of its registry, and last with the
/// registry itself.
#[derive(Debug)]
pub(in crate::image) struct Sessions {
    mirrors: Vec<Session>,
    registry: Session,
}

impl Sessions {
    /// Prepares them: nothing is asked yet.
    pub(in crate::image) async fn new(
        client: &Apptainer,
        image: &OciReference,
        no_https: bool,
    ) -> Result<Self, RegistryError> {
        let repository = image.repository();
        let mut mirrors = Vec::new();
        for mirror in client.registries().mirrors(image.registry()) {
            mirrors.push(Session::with_mirror(client, mirror, repository).await?);
        }
        let registry = Session::new(client, image.registry(), repository, no_https).await?;
        Ok(Self { mirrors, registry })
    }

    /// The digest that a tag has now, where that is told.
    pub(in crate::image) async fn digest(
        &self,
        tag: &str,
    ) -> Result<Option<String>, RegistryError> {
        self.first(|session| session.digest(tag)).await
    }

    /// The image under a tag or digest, for a platform.
    pub(in crate::image) async fn image(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Found, RegistryError> {
        self.first(|session| session.image(name, platform)).await
    }

    /// Fetches what is missing of a blob: see [`Download::fetch`].
    pub(in crate::image) async fn fetch(
        &self,
        blob: &Descriptor,
        part: &Path,
        held: &Held,
        told: &(impl Fn(u64) + Sync),
    ) -> Result<(), DownloadError> {
        for mirror in &self.mirrors {
            let download = Download::Blob(mirror, blob);
            match download.fetch(part, Held::clone(held), told).await {
                Err(DownloadError::Registry(error)) => pass_over(mirror, &error),
                fetched => return fetched,
            }
        }
        let download = Download::Blob(&self.registry, blob);
        download.fetch(part, Held::clone(held), told).await
    }

    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a Session) -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        for mirror in &self.mirrors {
            match ask(mirror).await {
                Err(error) => pass_over(mirror, &error),
                answer => return answer,
            }
        }
        ask(&self.registry).await
    }
}

fn pass_over(session: &Session, error: &RegistryError) {
    tracing::warn!(%error, mirror = session.host, "a mirror is passed over");
}
