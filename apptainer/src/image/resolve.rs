//! From a name to what it stands for.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apptainer_sys::exit::FailureKind;

use super::registry::{Found, RegistryError, UrlFile};
use super::store::{Form, Key, NameRecord, Source, Stores, Turn, file_state, now_millis};
use super::{ImageError, Options, Phase, Reference, Scheme};
use crate::blocking::blocking;

/// When a registry is asked what a name stands for, such as a tag, which may be moved.
///
/// The answer is kept in the store. What is named by a digest is never asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When the last answer is older. Where the registry cannot be reached then, and the image
    /// is there, the old answer goes on to count, with a warning.
    IfOlderThan(Duration),
    /// When the image is not there.
    IfMissing,
    /// Never: what is not there is an error.
    Never,
}

impl Default for PullPolicy {
    /// When the last answer is older than an hour.
    fn default() -> Self {
        Self::IfOlderThan(Duration::from_secs(3600))
    }
}

/// What a name stands for, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// The digest of the image's manifest, if it is in a registry.
    pub digest: Option<String>,
    /// When that was asked for.
    pub asked: SystemTime,
    /// Whether the policy wanted a newer answer, and the registry could not be reached.
    pub is_stale: bool,
}

/// What an image is to be made from.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) source: Source,
    pub(super) resolution: Resolution,
    /// What the registry has just said of it.
    pub(super) found: Option<Found>,
    /// Whether no index says for which machines it is.
    pub(super) is_alone: bool,
    pub(super) answer: Option<Answer>,
}

/// What was answered just now: it counts from when the image is there, and whoever else wants to
/// know waits for that.
#[derive(Debug)]
pub(super) struct Answer {
    name: Key,
    record: NameRecord,
    /// What counted before.
    pub(super) previous: Option<NameRecord>,
    turn: Option<Turn>,
}

impl Answer {
    /// Lets others ask meanwhile.
    pub(super) fn let_go(&mut self) {
        self.turn = None;
    }

    /// Has it count from now on, for what was made of this. Blocks.
    pub(super) fn settle(self, source: Source, stores: &Stores) -> Result<(), ImageError> {
        let is_held = self.turn.as_ref().is_some_and(Turn::is_held);
        let known = stores.name(&self.name);
        if !is_held && known.is_some_and(|known| known.asked > self.record.asked) {
            return Ok(());
        }
        let record = NameRecord {
            source,
            ..self.record
        };
        stores.write_name(&self.name, &record)
    }
}

impl Resolved {
    fn recorded(record: &NameRecord) -> Self {
        Self {
            source: record.source.clone(),
            resolution: Resolution {
                digest: digest_of(&record.source),
                asked: record.asked_at(),
                is_stale: false,
            },
            found: None,
            is_alone: record.named.is_some() && record.named == digest_of(&record.source),
            answer: None,
        }
    }

    /// What needs nobody's answer.
    pub(super) fn known(source: Source) -> Self {
        Self {
            resolution: Resolution {
                digest: digest_of(&source),
                asked: SystemTime::now(),
                is_stale: false,
            },
            source,
            found: None,
            is_alone: false,
            answer: None,
        }
    }
}

/// What went wrong while a newer answer was to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking for it.
    Asking,
    /// Making the image that it led to.
    Making,
}

impl Stage {
    /// Whether it says nothing of the image itself: the registry could not be reached, or not be
    /// asked from here.
    fn is_passed(self, error: &ImageError) -> bool {
        match error {
            ImageError::Registry { source, .. } => source.is_unreachable() || source.may_pass(),
            ImageError::Apptainer { .. } => error.kind() == Some(FailureKind::Registry),
            ImageError::TimedOut { .. }
            | ImageError::Held { .. }
            | ImageError::ReadOnlyStore { .. } => self == Self::Asking,
            ImageError::Store { source, .. } => {
                let is_closed = matches!(
                    source.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                );
                is_closed && self == Self::Asking
            }
            _ => false,
        }
    }
}

fn digest_of(source: &Source) -> Option<String> {
    match source {
        Source::Manifest(digest) => Some(digest.clone()),
        _ => None,
    }
}

impl Options {
    /// What is known of a name without asking anybody, where the policy takes that.
    ///
    /// Blocks.
    pub(super) fn recorded(
        &self,
        reference: &Reference,
        stores: &Stores,
    ) -> Result<Option<Resolved>, ImageError> {
        if let Some(path) = reference.local_source() {
            let state =
                file_state(&path).map_err(|source| ImageError::NotFound { path, source })?;
            return Ok(Some(Resolved::known(Source::File(state))));
        }
        let record = stores.name(&self.name(reference));
        let is_fixed = reference
            .oci()
            .is_some_and(|image| image.digest().is_some());
        let Some(record) = record else {
            let digest = reference.oci().and_then(|image| image.digest());
            return match (self.policy, digest) {
                // It may be that of an index, and then is not there.
                (PullPolicy::Never, Some(digest)) => {
                    Ok(Some(Resolved::known(Source::Manifest(digest.to_owned()))))
                }
                (PullPolicy::Never, None) => Err(self.offline(reference)),
                _ => Ok(None),
            };
        };
        let is_taken = is_fixed || self.is_recent(&record, stores, now_millis())?;
        Ok(is_taken.then(|| Resolved::recorded(&record)))
    }

    /// Whether the policy takes an answer without asking again, of somebody who wants it at this
    /// time.
    fn is_recent(
        &self,
        record: &NameRecord,
        stores: &Stores,
        now: u64,
    ) -> Result<bool, ImageError> {
        match self.policy {
            PullPolicy::Never => Ok(true),
            PullPolicy::Always => Ok(false),
            // A time to come is a clock's that was set back: nothing is known of it.
            PullPolicy::IfOlderThan(limit) => {
                let age = now.checked_sub(record.asked).map(Duration::from_millis);
                Ok(age.is_some_and(|age| age <= limit))
            }
            PullPolicy::IfMissing => self.has(record, stores),
        }
    }

    /// Asks what a name stands for, one at a time of all that ask for it. `began` is from before
    /// it was looked at what is known.
    pub(super) async fn ask(
        &self,
        reference: &Reference,
        stores: &Arc<Stores>,
        began: u64,
    ) -> Result<Resolved, ImageError> {
        let name = self.name(reference);
        let turn = match stores.ours() {
            Ok(root) => {
                let lock = root.lock("name", name.as_str());
                Turn::take(lock, reference, self.limit, &self.listener).await
            }
            Err(error) => Err(error),
        };
        let (options, looked) = (self.clone(), Arc::clone(stores));
        let found = name.clone();
        let look = move || {
            let known = looked.name(&found);
            let is_recent = match &known {
                Some(record) => options.is_recent(record, &looked, began)?,
                None => false,
            };
            Ok::<_, ImageError>((known, is_recent))
        };
        let (known, is_recent) = blocking(look).await?;
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => return self.fall_back(error, Stage::Asking, known, stores).await,
        };
        // Whoever had it before us may have asked since then. What is still to come was asked for
        // before the clock was set back.
        let now = began..=now_millis();
        if let Some(record) = &known
            && (now.contains(&record.asked) || is_recent)
        {
            return Ok(Resolved::recorded(record));
        }
        self.listener.enter(Phase::Resolving);
        let (named, mut resolved) = match self.ask_source(reference, known.as_ref()).await {
            Ok(answer) => answer,
            Err(error) => return self.fall_back(error, Stage::Asking, known, stores).await,
        };
        let record = NameRecord {
            reference: reference.to_string(),
            platform: self.platform.clone(),
            named,
            source: resolved.source.clone(),
            asked: now_millis(),
        };
        resolved.resolution.asked = record.asked_at();
        resolved.answer = Some(Answer {
            name,
            record,
            previous: known,
            turn: Some(turn),
        });
        Ok(resolved)
    }

    /// The old answer, where that may still count.
    pub(super) async fn fall_back(
        &self,
        error: ImageError,
        stage: Stage,
        known: Option<NameRecord>,
        stores: &Arc<Stores>,
    ) -> Result<Resolved, ImageError> {
        let counts = matches!(self.policy, PullPolicy::IfOlderThan(_)) && stage.is_passed(&error);
        let Some(record) = known.filter(|_| counts) else {
            return Err(error);
        };
        let (options, looked) = (self.clone(), Arc::clone(stores));
        let (record, has) = blocking(move || {
            let has = options.has(&record, &looked);
            (record, has)
        })
        .await;
        if !has? {
            return Err(error);
        }
        tracing::warn!(%error, reference = record.reference, "an image is used as it was when it was last asked for");
        let mut resolved = Resolved::recorded(&record);
        resolved.resolution.is_stale = true;
        Ok(resolved)
    }

    /// What a server says of a name: the digest that the name itself has, and what it leads to.
    async fn ask_source(
        &self,
        reference: &Reference,
        known: Option<&NameRecord>,
    ) -> Result<(Option<String>, Resolved), ImageError> {
        let failed = |source: RegistryError| ImageError::registry(reference, source);
        if let Some(image) = reference.oci() {
            let sessions = self.sessions(image).await.map_err(failed)?;
            let name = image.digest().or(image.tag()).unwrap_or("latest");
            let patience = self.patience(reference);
            let answer = patience.ask(|| async {
                // What has not changed need not be read again.
                if let Some(known) = known.filter(|known| known.named.is_some()) {
                    let digest = sessions.digest(name).await?;
                    if digest.is_some() && digest == known.named {
                        let mut resolved = Resolved::known(known.source.clone());
                        resolved.is_alone = Resolved::recorded(known).is_alone;
                        return Ok((digest, resolved));
                    }
                }
                let found = sessions.image(name, &self.platform).await?;
                let mut resolved = Resolved::known(Source::Manifest(found.digest.clone()));
                let named = found.named.clone();
                resolved.is_alone = found.named == found.digest;
                resolved.found = Some(found);
                Ok((Some(named), resolved))
            });
            return answer.await;
        }
        let uri = reference.fingerprint();
        let time = now_millis();
        if matches!(reference.scheme(), Some(Scheme::Http | Scheme::Https)) {
            let patience = self.patience(reference);
            let url = reference.url();
            let file = patience.ask(|| UrlFile::ask(&self.client, &url));
            if let Some(validator) = file.await?.validator {
                let source = Source::Url {
                    url: uri,
                    validator,
                };
                return Ok((None, Resolved::known(source)));
            }
        }
        // Nobody tells whether it has changed: it is taken for having done so.
        Ok((None, Resolved::known(Source::At { uri, time })))
    }

    fn has(&self, record: &NameRecord, stores: &Stores) -> Result<bool, ImageError> {
        let key = self.key(&record.source);
        Ok(stores.find(Form::Sif, &key)?.is_some())
    }

    fn name(&self, reference: &Reference) -> Key {
        Key::of_name(reference, &self.platform)
    }

    pub(super) fn key(&self, source: &Source) -> Key {
        Key::of_image(source, &self.platform, self.conversion)
    }

    pub(super) fn offline(&self, reference: &Reference) -> ImageError {
        ImageError::Offline {
            reference: reference.to_string(),
            platform: self.platform.clone(),
        }
    }
}
