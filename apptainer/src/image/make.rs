//! From what a name stands for to an entry of the store.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::convert::Work;
use super::digest::Hash;
use super::options::check;
use super::resolve::Resolved;
use super::store::{
    EntryRecord, Form, InUse, Key, Root, Scratch, Source, Stores, Turn, create_private, now_millis,
    size_of, store_error, sync, write_entry,
};
use super::{ImageError, Options, Phase, Reference, Scheme, Subject};
use crate::blocking::blocking;

/// An entry that is being made: where, and as what.
pub(super) struct Making {
    stores: Arc<Stores>,
    pub(super) root: Root,
    form: Form,
    key: Key,
    pub(super) scratch: Arc<Scratch>,
    /// Where images are unpacked, if that is elsewhere.
    pub(super) tmp: Option<Arc<Scratch>>,
    /// The entry, before it is in its place.
    folder: PathBuf,
}

impl Making {
    /// Blocks.
    fn begin(
        stores: Arc<Stores>,
        form: Form,
        key: Key,
        tmp: Option<&Path>,
    ) -> Result<Self, ImageError> {
        let root = stores.ours()?.clone();
        root.prepare()?;
        let scratch = root.scratch()?;
        stores.make_room(form, &key, &scratch)?;
        let tmp = tmp.map(|path| Scratch::of_this_user(path).map_err(store_error(path)));
        let tmp = tmp.transpose()?.map(Arc::new);
        let folder = scratch.path().join("entry");
        create_private(&folder).map_err(store_error(&folder))?;
        Ok(Self {
            stores,
            root,
            form,
            key,
            scratch: Arc::new(scratch),
            tmp,
            folder,
        })
    }

    /// The file or directory that is to be made.
    pub(super) fn target(&self) -> PathBuf {
        self.folder.join(self.form.content())
    }

    /// Where images are unpacked.
    pub(super) fn unpacking(&self) -> &Path {
        self.tmp.as_ref().unwrap_or(&self.scratch).path()
    }

    /// Has it put into another place.
    pub(super) fn rename(&mut self, key: &Key) {
        self.key = key.clone();
    }

    /// Removes what there is of it: of an image that was unpacked that takes a while.
    pub(super) async fn give_up(self) {
        blocking(move || drop(self)).await;
    }

    /// Puts it into its place. Blocks.
    fn finish(self, record: &EntryRecord) -> Result<InUse, ImageError> {
        let folder = &self.folder;
        write_entry(folder, record)
            .and_then(|()| sync(folder))
            .map_err(store_error(folder))?;
        if let Some(entry) = self.root.publish(folder, self.form, &self.key)? {
            return Ok(entry);
        }
        let path = self.root.entry(self.form, &self.key);
        let entry = self.stores.find(self.form, &self.key)?;
        entry.ok_or_else(|| store_error(&path)(io::ErrorKind::NotFound.into()))
    }
}

impl Options {
    /// The image, made by one of all that want it.
    pub(super) async fn make(
        &self,
        reference: &Reference,
        stores: &Arc<Stores>,
        key: &Key,
        resolved: Resolved,
    ) -> Result<InUse, ImageError> {
        let _turn = self.turn(reference, stores, "image", key).await?;
        if let Some(entry) = self.find(stores, Form::Sif, key).await? {
            return Ok(entry);
        }
        let making = self.begin(stores, Form::Sif, key).await?;
        let source = resolved.source.clone();
        if let Err(error) = self.fill(reference, resolved, &making).await {
            making.give_up().await;
            return Err(error);
        }
        self.store(making, reference.to_string(), source).await
    }

    /// Puts a SIF file that is made into its place.
    pub(super) async fn store(
        &self,
        making: Making,
        reference: String,
        source: Source,
    ) -> Result<InUse, ImageError> {
        self.listener.enter(Phase::Verifying);
        let record = self.record(reference, source);
        let listener = self.listener.clone();
        blocking(move || {
            let record = seal(&making.target(), record)?;
            listener.enter(Phase::Storing);
            making.finish(&record)
        })
        .await
    }

    fn record(&self, reference: String, source: Source) -> EntryRecord {
        EntryRecord {
            reference,
            source,
            platform: self.platform.clone(),
            conversion: self.conversion,
            created: now_millis() / 1000,
            size: 0,
            sif: None,
        }
    }

    /// Makes the SIF file.
    async fn fill(
        &self,
        reference: &Reference,
        resolved: Resolved,
        making: &Making,
    ) -> Result<(), ImageError> {
        let work = self.work(reference, making);
        let target = making.target();
        let source = resolved.source.clone();
        if let (Some(image), Source::Manifest(digest)) = (reference.oci(), &source) {
            return self
                .fetch_image(image, resolved, digest, making, &work, &target)
                .await;
        }
        match reference.scheme() {
            Some(Scheme::Http | Scheme::Https) => {
                self.fetch_file(&reference.url(), &work, &target).await
            }
            Some(scheme) if scheme.is_local() => {
                let _slot = self.slot(reference, &making.root).await?;
                let source = reference.to_absolute().map_err(|source| {
                    let path = reference.to_string().into();
                    ImageError::NotFound { path, source }
                })?;
                // Having waited for that takes nothing from the time for this.
                let work = self.work(reference, making);
                work.make(&target, source, self.conversion).await
            }
            _ => work.pull(&target, reference, self.no_https).await,
        }
    }

    /// The sandbox of a SIF file, extracted by one of all that want it.
    pub(super) async fn extracted(
        &self,
        reference: &Reference,
        sif: &Path,
        key: &Key,
        stores: &Arc<Stores>,
    ) -> Result<InUse, ImageError> {
        if let Some(entry) = self.find(stores, Form::Sandbox, key).await? {
            return Ok(entry);
        }
        let _turn = self.turn(reference, stores, "sandbox", key).await?;
        if let Some(entry) = self.find(stores, Form::Sandbox, key).await? {
            return Ok(entry);
        }
        let making = self.begin(stores, Form::Sandbox, key).await?;
        let _slot = self.slot(reference, &making.root).await?;
        let work = self.work(reference, &making);
        if let Err(error) = work.extract(sif, &making.target()).await {
            making.give_up().await;
            return Err(error);
        }
        let source = Source::File(sif.display().to_string());
        let record = self.record(reference.to_string(), source);
        blocking(move || {
            let size = size_of(&making.folder);
            sync_all(&making.folder).map_err(store_error(&making.folder))?;
            making.finish(&EntryRecord { size, ..record })
        })
        .await
    }

    pub(super) async fn begin(
        &self,
        stores: &Arc<Stores>,
        form: Form,
        key: &Key,
    ) -> Result<Making, ImageError> {
        let (stores, key) = (Arc::clone(stores), key.clone());
        let tmp = self.client.tmp_dir().map(Path::to_owned);
        blocking(move || Making::begin(stores, form, key, tmp.as_deref())).await
    }

    pub(super) async fn turn(
        &self,
        subject: Subject<'_>,
        stores: &Stores,
        doing: &str,
        key: &Key,
    ) -> Result<Turn, ImageError> {
        let lock = stores.ours()?.lock(doing, key.as_str());
        Turn::take(lock, subject, self.limit, &self.listener).await
    }

    pub(super) fn work<'a>(&'a self, subject: Subject<'a>, making: &'a Making) -> Work<'a> {
        Work {
            client: &self.client,
            platform: &self.platform,
            scratch: &making.scratch,
            tmp: making.tmp.as_ref(),
            patience: self.patience(subject),
            listener: &self.listener,
        }
    }
}

/// Checks a SIF file that is finished, lets nobody write to it any more, and has it on disk.
/// Blocks.
fn seal(sif: &Path, record: EntryRecord) -> Result<EntryRecord, ImageError> {
    /// It can be run as a program.
    const MODE: u32 = 0o555;
    /// Source: `stat(2)`.
    const BLOCK: u64 = 512;
    check(sif)?;
    let seal = || -> io::Result<(String, u64)> {
        let digest = Hash::of_file(sif)?;
        fs::set_permissions(sif, Permissions::from_mode(MODE))?;
        sync(sif)?;
        Ok((digest, fs::metadata(sif)?.blocks() * BLOCK))
    };
    let (digest, size) = seal().map_err(store_error(sif))?;
    Ok(EntryRecord {
        sif: Some(digest),
        size,
        ..record
    })
}

/// Has everything on disk that was written to the file system of a directory. Blocks.
fn sync_all(folder: &Path) -> io::Result<()> {
    let folder = fs::File::open(folder)?;
    Ok(nix::unistd::syncfs(&folder)?)
}
