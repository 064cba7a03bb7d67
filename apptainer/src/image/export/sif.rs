//! A SIF file, for others to use.

use std::fs::{self, File};
use std::future::{Future, IntoFuture};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use super::ExportError;
use super::error::{read_error, write_error};
use super::partial::{Existing, Partial};
use super::sink::{Stop, StopOnDrop};
use crate::blocking::blocking;
use crate::image::{Image, deadline};

/// A SIF file on its way out of the store: await it.
///
/// Dropped midway it leaves nothing: the file is there whole, or not at all.
#[must_use = "an image is exported when this is awaited"]
pub struct ExportSif {
    image: Image,
    target: PathBuf,
    mode: ExportMode,
    existing: Existing,
    limit: Duration,
}

/// What an exported SIF file may share with the image's own. Each way stands for those below
/// it, where it cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExportMode {
    /// The cheapest: what [`Separate`](Self::Separate) does where blocks can be shared, else a
    /// hard link, else a copy.
    ///
    /// A hard link is another name for the same file, so it is made only of a file that nobody
    /// may write to, as those in the store are (mode 0555). Who owns it can change that: to
    /// write to the exported file then is to damage the store.
    #[default]
    Cheapest,
    /// A file of its own, which shares its blocks with the image's until one is written to,
    /// where the file system can do that (Btrfs, XFS, bcachefs); else a copy.
    Separate,
    /// A copy.
    Copy,
}

/// How a SIF file was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exported {
    /// As a file of its own that shares its blocks with the image's.
    Reflink,
    /// As another name for the image's file.
    HardLink,
    /// As a copy.
    Copy,
}

impl Image {
    /// Puts the image's SIF file at `target`, in a directory that is there, without copying it
    /// where that [can be helped](ExportMode). The answer says how it was done.
    ///
    /// What is a directory and no SIF file is refused, and so is a target that is there
    /// already.
    ///
    /// ```no_run
    /// # async fn example(image: apptainer::Image) -> Result<(), apptainer::Error> {
    /// use apptainer::image::ExportMode;
    ///
    /// let how = image
    ///     .export_sif("/srv/images/python.sif")
    ///     .mode(ExportMode::Separate)
    ///     .overwrite()
    ///     .await?;
    /// println!("{how:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn export_sif(&self, target: impl Into<PathBuf>) -> ExportSif {
        ExportSif {
            image: self.clone(),
            target: target.into(),
            mode: ExportMode::default(),
            existing: Existing::Refuse,
            limit: Duration::from_secs(3600),
        }
    }
}

impl ExportSif {
    /// What it may share with the image's own file: all that it can, otherwise.
    pub fn mode(mut self, mode: ExportMode) -> Self {
        self.mode = mode;
        self
    }

    /// Replaces a file that is there already, at once: who has it open keeps the old one.
    pub fn overwrite(mut self) -> Self {
        self.existing = Existing::Overwrite;
        self
    }

    /// How long it may take: an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn export(self) -> Result<Exported, ExportError> {
        let Some(sif) = self.image.sif().map(Path::to_owned) else {
            let path = self.image.path().to_owned();
            return Err(ExportError::NoSif { path });
        };
        let stop = Stop::default();
        let _stop_on_drop = StopOnDrop(stop.clone());
        let (target, existing, mode) = (self.target.clone(), self.existing, self.mode);
        let work = blocking(move || {
            let partial = Partial::beside(&target, existing)?;
            let new = partial.path("image.sif");
            let exported = make(&sif, &new, mode, &stop)?;
            stop.check().map_err(write_error(&new))?;
            partial.publish_file(&new)?;
            Ok(exported)
        });
        let timed_out = |_| ExportError::TimedOut {
            target: self.target.display().to_string(),
            limit: self.limit,
        };
        let done = tokio::time::timeout_at(deadline(self.limit), work).await;
        done.map_err(timed_out)?
    }
}

/// Makes `new` of the file at `sif`, in the first way that is open.
fn make(sif: &Path, new: &Path, mode: ExportMode, stop: &Stop) -> Result<Exported, ExportError> {
    let mut source = File::open(sif).map_err(read_error(sif))?;
    if mode != ExportMode::Copy && reflink(&source, new).map_err(write_error(new))? {
        return Ok(Exported::Reflink);
    }
    if mode == ExportMode::Cheapest && hard_link(&source, sif, new) {
        return Ok(Exported::HardLink);
    }
    copy(&mut source, new, stop).map_err(write_error(new))?;
    Ok(Exported::Copy)
}

/// As Apptainer makes SIF files: they can be run.
fn create(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o777)
        .open(path)
}

fn reflink(source: &File, new: &Path) -> io::Result<bool> {
    let file = create(new)?;
    if rustix::fs::ioctl_ficlone(&file, source).is_err() {
        fs::remove_file(new)?;
        return Ok(false);
    }
    file.sync_all()?;
    Ok(true)
}

/// Whether there is one now: not of a file that may be written to, nor on another file system,
/// nor of what the kernel takes for somebody else's (`fs.protected_hardlinks`).
fn hard_link(source: &File, sif: &Path, new: &Path) -> bool {
    let is_lasting = |found: fs::Metadata| found.permissions().mode() & 0o222 == 0;
    source.metadata().is_ok_and(is_lasting)
        && source.sync_all().is_ok()
        && fs::hard_link(sif, new).is_ok()
}

/// In pieces, each of which the kernel copies by itself.
fn copy(source: &mut File, new: &Path, stop: &Stop) -> io::Result<()> {
    const PIECE: u64 = 64 << 20;
    let mut file = create(new)?;
    while io::copy(&mut source.take(PIECE), &mut file)? > 0 {
        stop.check()?;
    }
    file.sync_all()
}

impl IntoFuture for ExportSif {
    type Output = Result<Exported, ExportError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.export())
    }
}
