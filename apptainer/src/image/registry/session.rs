//! A conversation with a registry about one repository.

use std::sync::{Mutex, PoisonError};

use reqwest::header::{ACCEPT, HeaderName, HeaderValue, RANGE};
use reqwest::{Client, Method, Response, StatusCode};

use super::RegistryError;
use super::authorization::{Asked, Authorization};
use super::credentials::{self, Credential, CredentialError};
use super::http::{self, body, failure, transport, url};
use super::manifest::{ACCEPTED, ImageManifest, Manifest, choose};
use crate::Apptainer;
use crate::image::digest::Hash;
use crate::image::{OciReference, Platform};

/// A conversation with a registry, or a mirror of it, about one repository.
#[derive(Debug)]
pub(in crate::image) struct Session {
    client: Apptainer,
    http: Client,
    /// As it stands in references and files of credentials.
    registry: String,
    /// Where it really is.
    pub(super) host: String,
    repository: String,
    /// Whether it was asked for by name, and is no mirror.
    is_named: bool,
    is_encrypted: bool,
    authorization: Mutex<Option<Authorization>>,
}

/// An image of a registry, for one platform.
#[derive(Debug, Clone)]
pub(in crate::image) struct Found {
    /// What the reference led to: the digest of the manifest, or of an index.
    pub(in crate::image) named: String,
    /// The digest of the image's manifest.
    pub(in crate::image) digest: String,
    /// The manifest.
    pub(in crate::image) manifest: ImageManifest,
    /// The same as it was sent.
    pub(in crate::image) bytes: Vec<u8>,
}

/// The largest manifest that is read, in bytes. Source: the distribution specification asks
/// registries to take such of 4 MiB, and clients need not expect more.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Session {
    /// Prepares one: nothing is asked yet.
    pub(in crate::image) async fn new(
        client: &Apptainer,
        registry: &str,
        repository: &str,
        no_https: bool,
    ) -> Result<Self, RegistryError> {
        let host = match registry {
            OciReference::DOCKER_HUB => "registry-1.docker.io",
            host => host,
        };
        let is_encrypted = !no_https && !client.registries().speaks_http(registry);
        let certificates = client.registries().certificates();
        Ok(Self {
            is_named: true,
            client: client.clone(),
            http: http::client(&certificates, host).await?,
            registry: registry.to_owned(),
            host: host.to_owned(),
            repository: repository.to_owned(),
            is_encrypted,
            authorization: Mutex::default(),
        })
    }

    /// The same with a mirror.
    pub(in crate::image) async fn with_mirror(
        client: &Apptainer,
        mirror: &str,
        repository: &str,
    ) -> Result<Self, RegistryError> {
        let session = Box::pin(Self::new(client, mirror, repository, false)).await?;
        Ok(Self {
            is_named: false,
            ..session
        })
    }

    /// The digest that a tag has now, as the registry tells it; `None` where it does not.
    pub(in crate::image) async fn digest(
        &self,
        tag: &str,
    ) -> Result<Option<String>, RegistryError> {
        let response = self.request(Method::HEAD, "manifests", tag, None).await?;
        let digest = response.headers().get(&CONTENT_DIGEST);
        let digest = digest.and_then(|digest| digest.to_str().ok());
        Ok(digest.map(str::to_owned))
    }

    /// The image under a tag or digest, for a platform.
    pub(in crate::image) async fn image(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Found, RegistryError> {
        let (named, bytes) = self.manifest(name).await?;
        let entries = match Manifest::parse(&bytes)? {
            Manifest::Image(manifest) => {
                return Ok(Found {
                    digest: named.clone(),
                    named,
                    manifest,
                    bytes,
                });
            }
            Manifest::Index(entries) => entries,
        };
        let (digest, bytes) = self.manifest(&choose(&entries, platform)?.digest).await?;
        match Manifest::parse(&bytes)? {
            Manifest::Image(manifest) => Ok(Found {
                named,
                digest,
                manifest,
                bytes,
            }),
            Manifest::Index(_) => Err(RegistryError::Malformed {
                what: "an index",
                reason: "it leads to another index".into(),
            }),
        }
    }

    /// The digest of a manifest, which is checked, and its bytes.
    async fn manifest(&self, name: &str) -> Result<(String, Vec<u8>), RegistryError> {
        let response = self.request(Method::GET, "manifests", name, None).await?;
        let told = response.headers().get(&CONTENT_DIGEST).cloned();
        let bytes = body(&self.host, "a manifest", response, LARGEST_MANIFEST).await?;
        // By a digest it is what has that; by a tag, what the registry says that it has.
        let told = told.as_ref().and_then(|told| told.to_str().ok());
        let expected = if is_digest(name) { Some(name) } else { told };
        let digest = match expected {
            Some(expected) => {
                let actual = Hash::of(Some(expected), &bytes);
                if actual != expected {
                    return Err(RegistryError::Digest {
                        host: self.host.clone(),
                        what: format!("the manifest {name}"),
                        expected: expected.to_owned(),
                        actual,
                    });
                }
                actual
            }
            None => Hash::of(None, &bytes),
        };
        Ok((digest, bytes))
    }

    /// The answer that has the bytes of a blob from `offset` on; all of them where the registry
    /// gives no part.
    pub(super) async fn blob(&self, digest: &str, offset: u64) -> Result<Response, RegistryError> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        self.request(Method::GET, "blobs", digest, range).await
    }

    /// A request, with a login where one is wanted: once.
    async fn request(
        &self,
        method: Method,
        kind: &str,
        name: &str,
        range: Option<String>,
    ) -> Result<Response, RegistryError> {
        let Self {
            host, repository, ..
        } = self;
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let url = url(
            host,
            &format!("{scheme}://{host}/v2/{repository}/{kind}/{name}"),
        )?;
        let send = async || {
            let mut request = self.http.request(method.clone(), url.clone());
            if kind == "manifests" {
                request = request.header(ACCEPT, HeaderValue::from_static(ACCEPTED));
            }
            if let Some(range) = &range {
                request = request.header(RANGE, range);
            }
            if let Some(authorization) = self.authorization() {
                request = authorization.apply(request);
            }
            let response = request.send().await;
            response.map_err(|error| transport(host, &error))
        };
        let mut response = send().await?;
        // Who is redirected to has no say in where credentials go.
        let is_its_own = response.url().origin() == url.origin();
        if is_its_own && response.status() == StatusCode::UNAUTHORIZED {
            let asked = Asked {
                http: &self.http,
                host,
                repository,
                is_encrypted: self.is_encrypted,
            };
            // Seldom, and large.
            let credential = Box::pin(self.credential()).await?;
            let authorizing = asked.authorize(response.headers(), credential);
            let authorized = Box::pin(authorizing).await?;
            if authorized.is_some() {
                *self.lock_authorization() = authorized;
                response = send().await?;
            }
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(failure(host, response).await)
        }
    }

    async fn credential(&self) -> Result<Credential, RegistryError> {
        let mut sources = self.client.registries().credentials(&self.client);
        sources.has_variables = self.is_named;
        match credentials::find(&sources, &self.registry, &self.repository).await {
            // Such a file may have come with a home directory from another machine.
            Err(error @ CredentialError::HelperMissing { .. }) => {
                tracing::warn!(%error, "a registry is asked without credentials");
                Ok(Credential::Anonymous)
            }
            found => Ok(found?),
        }
    }

    fn authorization(&self) -> Option<Authorization> {
        self.lock_authorization().clone()
    }

    fn lock_authorization(&self) -> std::sync::MutexGuard<'_, Option<Authorization>> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a name in a registry is a digest: no tag has a colon.
fn is_digest(name: &str) -> bool {
    name.contains(':')
}
