//! Pushing an image to a registry.

use std::ffi::OsStr;
use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::Feature;
use apptainer_sys::command::{self, GlobalOptions, Verbosity};
use apptainer_sys::process::Stdio;
use tokio::time::Instant;

use super::ExportError;
use super::error::write_error;
use super::run::run;
use crate::image::patience::pauses;
use crate::image::registry::Login;
use crate::image::{Image, Reference, ReferenceError, Scheme, deadline};

/// An image on its way to a registry: await it.
///
/// Dropped midway it kills `apptainer`. A registry shows an image when all of it is there, so
/// there is none then, or the whole one.
#[must_use = "an image is pushed when this is awaited"]
pub struct Push {
    image: Image,
    reference: Result<Reference, ReferenceError>,
    limit: Duration,
    no_https: bool,
    allow_unsigned: bool,
    retries: u32,
}

impl Image {
    /// Pushes the image's SIF file, as it is, to an OCI registry (`oras://HOST/NAME:TAG`), or
    /// to a library (`library://..`): to a registry with the credentials that an image would be
    /// fetched from it with, to a library with those that `apptainer remote login` keeps.
    ///
    /// It is Apptainer that does so: it knows the machine's certificate authorities alone, those
    /// of [`certificate_authority`](crate::Builder::certificate_authority) only where
    /// `SSL_CERT_FILE` names them too.
    ///
    /// ```no_run
    /// # async fn example(image: apptainer::Image) -> Result<(), apptainer::Error> {
    /// image.push("oras://registry.example.org/tools/python:3.12").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn push(&self, reference: impl AsRef<OsStr>) -> Push {
        Push {
            image: self.clone(),
            reference: Reference::parse(reference),
            limit: Duration::from_secs(3600),
            no_https: false,
            allow_unsigned: false,
            retries: 3,
        }
    }
}

impl Push {
    /// How long it may take, all attempts together: an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Speaks HTTP to the registry.
    ///
    /// [`Builder::http_registry`](crate::Builder::http_registry) says so once for a registry.
    pub fn no_https(mut self) -> Self {
        self.no_https = true;
        self
    }

    /// Pushes to a library what nobody has signed.
    pub fn allow_unsigned(mut self) -> Self {
        self.allow_unsigned = true;
        self
    }

    /// How often a registry is asked again that was busy, or broke off: 3 times otherwise, each
    /// after a longer pause, from about half a second on.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    async fn push(self) -> Result<(), ExportError> {
        let reference = self.reference.clone()?;
        if !matches!(reference.scheme(), Some(Scheme::Oras | Scheme::Library)) {
            let reference = reference.to_string();
            return Err(ExportError::NotPushable { reference });
        }
        let Some(sif) = self.image.sif() else {
            let path = self.image.path().to_owned();
            return Err(ExportError::NoSif { path });
        };
        let deadline = deadline(self.limit);
        let pushing = self.push_with_retries(sif, &reference, deadline);
        let timed_out = |_| ExportError::TimedOut {
            target: reference.to_string(),
            limit: self.limit,
        };
        let pushed = tokio::time::timeout_at(deadline, pushing).await;
        pushed.map_err(timed_out)?
    }

    async fn push_with_retries(
        &self,
        sif: &Path,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<(), ExportError> {
        for pause in pauses().take(self.retries as usize) {
            let error = match self.push_once(sif, reference).await {
                Err(error) if error.may_pass() && Instant::now() + pause < deadline => error,
                pushed => return pushed,
            };
            tracing::warn!(%error, ?pause, "the registry is asked again");
            tokio::time::sleep(pause).await;
        }
        self.push_once(sif, reference).await
    }

    async fn push_once(&self, sif: &Path, reference: &Reference) -> Result<(), ExportError> {
        let client = self.image.client();
        let is_plain = |host| client.registries().speaks_http(host);
        let no_https = self.no_https || reference.registry().is_some_and(is_plain);
        let mut push = command::Push::new(sif, reference.to_word(no_https));
        push.no_https(no_https).allow_unsigned(self.allow_unsigned);
        let login = match reference.oci() {
            Some(image) => Login::find(client, image).await?,
            None => None,
        };
        let takes_file = client.install().has(Feature::Authfile);
        let file = match &login {
            Some(login) if takes_file => {
                let file = login.write().await;
                Some(Arc::new(file.map_err(write_error(&std::env::temp_dir()))?))
            }
            _ => None,
        };
        if let Some(file) = &file {
            push.authfile(file.path());
        }
        // In a version that takes no file.
        let variables = login.as_ref().filter(|_| !takes_file);
        let variables = variables.and_then(Login::basic);
        let global = GlobalOptions {
            verbosity: Verbosity::Normal,
            ..GlobalOptions::silent()
        };
        let make = || {
            let mut spawn = client.invocation(&global, &push)?;
            spawn.stdout(Stdio::Null);
            if let Some((username, password)) = variables {
                spawn.set_env("APPTAINER_DOCKER_USERNAME", username);
                spawn.set_env("APPTAINER_DOCKER_PASSWORD", password);
            }
            Ok(spawn)
        };
        let ended = run(client.install().program(), make, file.clone()).await?;
        if ended.exit.success() {
            return Ok(());
        }
        Err(ExportError::Apptainer {
            reference: reference.to_string(),
            failure: Box::new(ended.into_failure()),
        })
    }
}

impl IntoFuture for Push {
    type Output = Result<(), ExportError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.push())
    }
}
