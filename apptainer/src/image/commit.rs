//! From an image and what was written to a container of it to an image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::make::Making;
use super::progress::Listener;
use super::squashfs::Tools;
use super::store::{Form, InUse, Source, create_private, now_millis, store_error};
use super::{Compression, Image, ImageError, Options, Phase, Progress, Reference, upper};
use crate::Apptainer;
use crate::blocking::blocking;

/// How an image is made of what was written to a container.
#[derive(Clone)]
pub(crate) struct Commit {
    options: Options,
}

/// An image that is being made of it.
pub(crate) struct Committing {
    options: Options,
    source: Source,
    making: Making,
    /// What is to hold an upper layer.
    layer: PathBuf,
}

impl Commit {
    pub(crate) fn new(client: &Apptainer) -> Self {
        Self {
            options: Options::new(client),
        }
    }

    pub(crate) fn compression(&mut self, compression: Compression) {
        self.options.conversion.compression = Some(compression);
    }

    pub(crate) fn timeout(&mut self, limit: Duration) {
        self.options.limit = limit;
    }

    pub(crate) fn on_progress(&mut self, call: impl Fn(Progress) + Send + Sync + 'static) {
        self.options.listener = Listener::new(call);
    }

    /// Has a place in the store for an image that is like no other, made of what this names.
    pub(crate) async fn begin(self, subject: &str) -> Result<Committing, ImageError> {
        let stores = self.options.stores().await?;
        let which = std::process::id();
        let source = Source::Build(format!("commit {subject} {which} {}", now_millis()));
        let key = self.options.key(&source);
        let making = self.options.begin(&stores, Form::Sif, &key).await?;
        let layer = making.unpacking().join("layer");
        let made = layer.clone();
        blocking(move || create_private(&made).map_err(store_error(&made))).await?;
        Ok(Committing {
            options: self.options,
            source,
            making,
            layer,
        })
    }
}

impl Committing {
    /// An empty directory for what was written, with the marks of what that takes away. All of it
    /// is to belong to this user, unless that is root.
    pub(crate) fn layer(&self) -> &Path {
        &self.layer
    }

    /// What is to be kept for as long as somebody writes there.
    pub(crate) fn keep(&self) -> impl Send + use<> {
        (Arc::clone(&self.making.scratch), self.making.tmp.clone())
    }

    /// The image that the layer makes of another one, a SIF file or a sandbox.
    ///
    /// The files in it are root's, or else whose they are here.
    pub(crate) async fn finish(self, base: &Path, is_roots: bool) -> Result<Image, ImageError> {
        let (options, source) = (self.options, self.source);
        let entry = commit(
            &options,
            self.making,
            self.layer,
            base,
            source.clone(),
            is_roots,
        )
        .await?;
        let sif = entry.path(Form::Sif.content());
        let key = options.key(&source);
        options
            .runnable(&Reference::path(&sif), sif, &key, Some(entry), None)
            .await
    }
}

async fn commit(
    options: &Options,
    making: Making,
    layer: PathBuf,
    base: &Path,
    source: Source,
    is_roots: bool,
) -> Result<InUse, ImageError> {
    let subject = base.display().to_string();
    let packed = async {
        let _slot = options.slot(&subject, &making.root).await?;
        let tools = Tools {
            scratch: &making.scratch,
            tmp: making.tmp.as_ref(),
            patience: options.patience(&subject),
        };
        let root = making.unpacking().join("root");
        options.listener.enter(Phase::Extracting);
        tools.unpack(base, &root).await?;
        let (applied, onto) = (layer, root.clone());
        // Kept where this is dropped: it writes until it has ended.
        let keep = (Arc::clone(&making.scratch), making.tmp.clone());
        blocking(move || {
            let _keep = keep;
            upper::apply(&applied, &onto)
        })
        .await?;
        options.listener.enter(Phase::Compressing);
        let compression = options.conversion.compression;
        tools
            .pack(&root, &making.target(), compression, is_roots)
            .await
    };
    if let Err(error) = packed.await {
        making.give_up().await;
        return Err(error);
    }
    options.store(making, subject, source).await
}
