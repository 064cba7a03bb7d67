//! From a reference to an image that can be run.

use std::ffi::OsStr;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use super::progress::{Listener, Phase, Progress};
use super::{
    Compression, Image, ImageError, Options, Platform, PullPolicy, Reference, ReferenceError,
    SignaturePolicy,
};
use crate::Apptainer;

/// An image on its way: await it.
///
/// Dropped midway it leaves nothing half: what was started is killed, and what was
/// written is removed, but for layers that have come, which the next attempt goes on with.
/// What is whole by then stays, as an image that is still to be extracted.
#[derive(Clone)]
#[must_use = "an image is fetched when this is awaited"]
pub struct Acquire {
    reference: Result<Reference, ReferenceError>,
    options: Options,
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
            reference: Reference::parse(reference),
            options: Options::new(self),
        }
    }
}

impl Acquire {
    /// When the registry is asked what a tag stands for: an hour after it was last asked,
    /// otherwise.
    pub fn policy(mut self, policy: PullPolicy) -> Self {
        self.options.policy = policy;
        self
    }

    /// The machines that the image is to be for: such as this one, otherwise.
    ///
    /// Others' programs run here only where something emulates those.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.options.platform = platform;
        self
    }

    /// What the SIF file is to be compressed with, where it is made here: what Apptainer takes
    /// by itself, otherwise.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.conversion.compression = Some(compression);
        self
    }

    /// Who must have signed the image: it need not be signed, otherwise.
    ///
    /// It is checked each time, of what is in the store too. What is made of layers is never
    /// signed.
    pub fn signatures(mut self, policy: SignaturePolicy) -> Self {
        self.options.signatures = policy;
        self
    }

    /// How long fetching, and extracting, may take each, and waiting for somebody else to do so:
    /// an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.limit = limit;
        self
    }

    /// How often the registry is asked again that was busy, or broke off: 3 times otherwise,
    /// each after a longer pause, from about half a second on.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Speaks HTTP to the registry.
    ///
    /// [`Builder::http_registry`](crate::Builder::http_registry) says so once for
    /// a registry.
    pub fn no_https(mut self) -> Self {
        self.options.no_https = true;
        self
    }

    /// Calls `call` when a phase begins and, within one, now and then.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.options.listener = Listener::new(call);
        self
    }

    async fn acquire(self) -> Result<Image, ImageError> {
        let reference = self.reference?;
        let image = self.options.image(&reference).await?;
        self.options.listener.enter(Phase::Done);
        Ok(image)
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Image, ImageError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}
