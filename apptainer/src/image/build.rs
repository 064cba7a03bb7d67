//! From a definition to an image that can be run.

use std::fs;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::definition::{Inputs, Recipe};
use super::digest::{Hash, hex};
use super::make::Making;
use super::progress::{Listener, Phase, Progress};
use super::resolve::Resolved;
use super::store::{
    Form, InUse, Key, NameRecord, Source, Stores, file_state, now_millis, store_error,
};
use super::{
    Compression, Definition, Image, ImageError, Options, PullPolicy, Reference, SignaturePolicy,
};
use crate::Apptainer;
use crate::blocking::blocking;

/// An image that is built: await it.
///
/// Dropped midway it leaves nothing: what was started is killed, and what was written is
/// removed. The images that it is built on stay.
#[derive(Clone)]
#[must_use = "an image is built when this is awaited"]
pub struct Build {
    definition: Definition,
    options: Options,
    is_forced: bool,
}

/// An image that a definition starts from.
struct Base {
    reference: Reference,
    /// What a URI stands for.
    resolved: Option<(Resolved, Option<InUse>)>,
    /// What tells it from others.
    identity: String,
}

impl Apptainer {
    /// The image that a definition describes, built once and kept in the store: as long as
    /// everything that goes into it is the same, it is not built again. That is the definition,
    /// what it copies from this machine, and the images that it starts from, which are had as
    /// [`image`](Self::image) has them.
    ///
    /// Scripts that fetch something, as package managers do, are taken for doing the same
    /// each time: [`Build::rebuild`] says otherwise. Nobody can tell what goes into an image from
    /// a script that runs on this machine (`%setup`, `%pre`), nor from a sandbox directory that
    /// it starts from: with such it is built each time.
    ///
    /// An ordinary user builds as root of a user namespace, where the machine allows that.
    ///
    /// ```no_run
    /// # async fn example(apptainer: apptainer::Apptainer) -> Result<(), apptainer::Error> {
    /// use apptainer::image::Definition;
    ///
    /// let definition = Definition::from_image("docker://debian:12")
    ///     .files("target/release/server", "/usr/local/bin/server")
    ///     .post("apt-get update && apt-get install -y ca-certificates")
    ///     .runscript("exec server");
    /// let image = apptainer.build(definition).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn build(&self, definition: Definition) -> Build {
        Build {
            definition,
            options: Options::new(self),
            is_forced: false,
        }
    }
}

impl Build {
    /// When registries are asked what the tags stand for that it starts from.
    pub fn policy(mut self, policy: PullPolicy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Who must have signed the images that it starts from: they need not be signed, otherwise.
    pub fn base_signatures(mut self, policy: SignaturePolicy) -> Self {
        self.options.signatures = policy;
        self
    }

    /// What the SIF file is to be compressed with: what Apptainer takes by itself, otherwise.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.conversion.compression = Some(compression);
        self
    }

    /// How long building may take, and getting each of the images that it starts from, and
    /// waiting for somebody else to do so: an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.limit = limit;
        self
    }

    /// How often a registry is asked again: see [`Acquire::retries`](super::Acquire::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Speaks HTTP to the registries.
    pub fn no_https(mut self) -> Self {
        self.options.no_https = true;
        self
    }

    /// Builds it in any case, and keeps that in the place of what was built before.
    pub fn rebuild(mut self) -> Self {
        self.is_forced = true;
        self
    }

    /// Calls `call` when a phase begins and, within one, now and then.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.options.listener = Listener::new(call);
        self
    }

    async fn build(mut self) -> Result<Image, ImageError> {
        let definition = self.definition.clone();
        let read = move || {
            let recipe = definition.recipe()?;
            let hash = recipe.fingerprint()?;
            Ok::<_, ImageError>((recipe, hash))
        };
        let (recipe, hash) = blocking(read).await?;
        let stores = self.options.stores().await?;
        let mut bases = Vec::new();
        for reference in recipe.bases() {
            bases.push(self.base(reference, &stores).await?);
        }
        if recipe.has_host_script() {
            self.is_forced = true;
        }
        let subject = self.definition.to_string();
        let name = self.options.key(&source(&hash, &bases));
        let turn = self.options.turn(&subject, &stores, "build", &name);
        let _turn = turn.await?;
        let mut images = None;
        // Otherwise nothing would be said of what it was built on by somebody else.
        if self.options.signatures != SignaturePolicy::Ignore {
            images = Some(self.images(&mut bases, &stores).await?);
        }
        let mut built = None;
        if !self.is_forced {
            built = self.built(&name, &stores).await?;
        }
        let (key, entry) = if let Some(built) = built {
            settle(&mut bases, &stores).await?;
            built
        } else {
            let images = match images {
                Some(images) => images,
                None => self.images(&mut bases, &stores).await?,
            };
            let made = self.make(&subject, recipe, &bases, &images, &name, &stores);
            Box::pin(made).await?
        };
        let sif = entry.path(Form::Sif.content());
        let reference = Reference::path(&sif);
        let options = self.options.unsigned();
        let image = options.runnable(&reference, sif, &key, Some(entry), None);
        let image = image.await?;
        self.options.listener.enter(Phase::Done);
        Ok(image)
    }

    async fn base(&self, reference: Reference, stores: &Arc<Stores>) -> Result<Base, ImageError> {
        let Some(path) = reference.as_path().map(PathBuf::from) else {
            let mut resolved = self.options.resolve(&reference, stores).await?;
            // Nobody waits for this name while another is asked for.
            if let Some(answer) = &mut resolved.0.answer {
                answer.let_go();
            }
            let identity = self.options.key(&resolved.0.source);
            return Ok(Base {
                reference,
                resolved: Some(resolved),
                identity: identity.as_str().to_owned(),
            });
        };
        let look = move || {
            // Nobody can tell whether something deep in it has changed.
            if path.is_dir() {
                return Ok(now_millis().to_string());
            }
            file_state(&path).map_err(|source| ImageError::NotFound { path, source })
        };
        Ok(Base {
            reference,
            resolved: None,
            identity: blocking(look).await?,
        })
    }

    /// What was built before of the same.
    async fn built(
        &self,
        name: &Key,
        stores: &Arc<Stores>,
    ) -> Result<Option<(Key, InUse)>, ImageError> {
        let again = stores.name(name).map(|record| record.source);
        let again = again.map(|source| self.options.key(&source));
        for key in again.into_iter().chain([name.clone()]) {
            if let Some(entry) = self.options.find(stores, Form::Sif, &key).await? {
                return Ok(Some((key, entry)));
            }
        }
        Ok(None)
    }

    /// The images that it starts from, in their order.
    async fn images(
        &self,
        bases: &mut [Base],
        stores: &Arc<Stores>,
    ) -> Result<Vec<Image>, ImageError> {
        let mut images = Vec::new();
        for base in bases {
            let reference = &base.reference;
            images.push(match base.resolved.take() {
                Some((resolved, entry)) => {
                    let had = self.options.have(reference, stores, resolved, entry);
                    had.await?
                }
                None => self.options.image(reference).await?,
            });
        }
        Ok(images)
    }

    /// Builds it: while that is done nobody else does.
    async fn make(
        &self,
        subject: &str,
        recipe: Recipe,
        bases: &[Base],
        images: &[Image],
        name: &Key,
        stores: &Arc<Stores>,
    ) -> Result<(Key, InUse), ImageError> {
        let making = self.options.begin(stores, Form::Sif, name).await?;
        let (mut making, inputs) = blocking(move || gather(making, &recipe)).await?;
        let mut source = source(&inputs.hash(), bases);
        if self.is_forced {
            source = again(source);
        }
        // Files that changed since they were read make another image.
        let key = self.options.key(&source);
        making.rename(&key);
        let path = |wanted: &Reference| {
            let mut all = bases.iter().zip(images);
            let (_, image) = all.find(|(base, _)| base.reference == *wanted)?;
            Some(image.sif().unwrap_or(image.path()).to_owned())
        };
        let definition = making.scratch.path().join("definition");
        let text = inputs.text(path)?;
        let built = async {
            fs::write(&definition, text).map_err(store_error(&definition))?;
            let _slot = self.options.slot(&subject, &making.root).await?;
            let work = self.options.work(&subject, &making);
            let target = making.target();
            let conversion = self.options.conversion;
            work.build(&target, &definition, conversion).await
        };
        if let Err(error) = built.await {
            making.give_up().await;
            return Err(error);
        }
        let store = self
            .options
            .store(making, subject.to_owned(), source.clone());
        let entry = store.await?;
        if self.is_forced {
            self.remember(source, subject, name, stores)?;
        }
        Ok((key, entry))
    }

    /// Has it found from now on by whoever builds the same.
    fn remember(
        &self,
        source: Source,
        subject: &str,
        name: &Key,
        stores: &Stores,
    ) -> Result<(), ImageError> {
        let record = NameRecord {
            reference: subject.to_owned(),
            platform: self.options.platform.clone(),
            named: None,
            source,
            asked: now_millis(),
        };
        stores.write_name(name, &record)
    }
}

/// Has what was answered of the names of images count, though these are not needed: what was built
/// of them is there.
async fn settle(bases: &mut [Base], stores: &Arc<Stores>) -> Result<(), ImageError> {
    for base in bases {
        let resolved = base.resolved.as_mut().map(|(resolved, _)| resolved);
        let Some(resolved) = resolved else { continue };
        if let Some(answer) = resolved.answer.take() {
            let (source, stores) = (resolved.source.clone(), Arc::clone(stores));
            blocking(move || answer.settle(source, &stores)).await?;
        }
    }
    Ok(())
}

/// What goes into it, by which it is found again.
fn source(hash: &[u8; 32], bases: &[Base]) -> Source {
    let mut text = hex(hash);
    for base in bases {
        text.push('\n');
        text.push_str(&base.identity);
    }
    Source::Build(Hash::of(None, text.as_bytes()))
}

/// The same, built anew.
fn again(source: Source) -> Source {
    match source {
        Source::Build(text) => Source::Build(format!("{text} {}", now_millis())),
        other => other,
    }
}

/// Copies what goes in. Blocks.
fn gather(making: Making, recipe: &Recipe) -> Result<(Making, Inputs), ImageError> {
    let folder = making.scratch.path().join("inputs");
    fs::create_dir(&folder).map_err(store_error(&folder))?;
    let inputs = Inputs::gather(recipe, &folder)?;
    Ok((making, inputs))
}

impl IntoFuture for Build {
    type Output = Result<Image, ImageError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}
