//! An image as an OCI image, for other engines to run.

use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::ExportError;
use super::archive;
use super::config::Description;
use super::error::write_error;
use super::layout::{Layout, Name};
use super::partial::{Existing, Partial};
use super::rootfs::RootFs;
use super::sink::{Stop, StopOnDrop};
use crate::blocking::blocking;
use crate::image::{Image, deadline};

/// An image on its way to being an OCI image: await it.
///
/// Dropped midway it ends what works at it, and leaves nothing: the target is there whole, or
/// not at all.
#[must_use = "an image is exported when this is awaited"]
pub struct ExportOci {
    image: Image,
    target: PathBuf,
    form: Form,
    tag: Option<String>,
    existing: Existing,
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Layout,
    Archive,
}

/// An OCI image that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportedOci {
    /// The digest of its manifest, by which registries know it: `sha256:..`. The same image
    /// has the same one each time.
    pub digest: String,
    /// What it is called within the layout.
    pub tag: String,
}

impl Image {
    /// Writes the image as an [OCI image layout] to the directory `target`, which is not
    /// there yet, in a directory that is.
    ///
    /// Docker, Podman, skopeo and Apptainer read it: `skopeo copy oci:DIRECTORY:TAG ..`,
    /// `apptainer build IMAGE oci:DIRECTORY`. Of an image in a SIF file it needs `unsquashfs`
    /// (squashfs-tools 4.4 or later), and room beside the target for all its files.
    ///
    /// # What is in it
    ///
    /// All files in one layer, with their modes, times, links and, where they can be read,
    /// extended attributes (`user.*` and file capabilities). They belong to root. Left out are
    /// device nodes and sockets. A file that cannot be read is an error.
    ///
    /// An image that was made of an OCI image is run as that was: entrypoint, command,
    /// environment, user, working directory and labels are its own. Any other is run as
    /// Apptainer runs it: its environment scripts are read, and then its run script is run;
    /// where it has none, the command that is given, or a shell. For this Apptainer's own
    /// files (`/.singularity.d`) stay, but scripts that it would overwrite in an image that it
    /// makes of this one have another name there, and are empty by their own. Environment scripts that a definition file
    /// adds to an OCI image are read by Apptainer only, unless it has a run script as well.
    ///
    /// A process that is killed outright while it exports leaves a directory beside the target,
    /// which is called `.export-` and some letters.
    ///
    /// The same SIF file gives the same bytes each time. A sandbox does too while nothing in
    /// it changes; it counts as made in 1970.
    ///
    /// ```no_run
    /// # async fn example(image: apptainer::Image) -> Result<(), apptainer::Error> {
    /// let exported = image.export_oci_layout("/srv/layouts/python").tag("3.12").await?;
    /// println!("{} is {}", exported.tag, exported.digest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [OCI image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
    pub fn export_oci_layout(&self, target: impl Into<PathBuf>) -> ExportOci {
        ExportOci::new(self, target.into(), Form::Layout)
    }

    /// Writes the image as the [layout](Self::export_oci_layout) in one tar file:
    /// `podman load -i FILE`, `docker load -i FILE`, `apptainer build IMAGE oci-archive:FILE`.
    ///
    /// ```no_run
    /// # async fn example(image: apptainer::Image) -> Result<(), apptainer::Error> {
    /// image.export_oci_archive("/srv/python.tar").overwrite().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn export_oci_archive(&self, target: impl Into<PathBuf>) -> ExportOci {
        ExportOci::new(self, target.into(), Form::Archive)
    }
}

impl ExportOci {
    fn new(image: &Image, target: PathBuf, form: Form) -> Self {
        Self {
            image: image.clone(),
            target,
            form,
            tag: None,
            existing: Existing::Refuse,
            limit: Duration::from_secs(3600),
        }
    }

    /// What the image is called within the layout: otherwise the tag that it was asked for by,
    /// or `latest`.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Replaces what is there already: a file by an archive; by a layout only a layout, or an
    /// empty directory.
    pub fn overwrite(mut self) -> Self {
        self.existing = Existing::Overwrite;
        self
    }

    /// How long it may take: an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn export(self) -> Result<ExportedOci, ExportError> {
        let timed_out = |_| ExportError::TimedOut {
            target: self.target.display().to_string(),
            limit: self.limit,
        };
        let exported = tokio::time::timeout_at(deadline(self.limit), self.write()).await;
        exported.map_err(timed_out)?
    }

    async fn write(&self) -> Result<ExportedOci, ExportError> {
        let (target, existing) = (self.target.clone(), self.existing);
        let partial = blocking(move || Partial::beside(&target, existing)).await?;
        let partial = Arc::new(partial);
        let root = RootFs::of(&self.image, &partial).await?;
        let work = Work {
            sif: self.image.sif().map(Path::to_owned),
            root,
            partial,
            form: self.form,
            name: self.name(),
            stop: Stop::default(),
        };
        let _stop_on_drop = StopOnDrop(work.stop.clone());
        blocking(move || work.done()).await
    }

    fn name(&self) -> Name {
        let oci = self.image.reference().oci();
        let tag = self.tag.as_deref().or_else(|| oci?.tag());
        let tag = tag.unwrap_or("latest").to_owned();
        let full = |oci: &crate::image::OciReference| {
            format!("{}/{}:{tag}", oci.registry(), oci.repository())
        };
        // Within a layout, other names than tags are possible.
        let full = oci.map(full).filter(|_| is_tag(&tag));
        Name { tag, full }
    }
}

/// What is done on a thread that may block.
struct Work {
    sif: Option<PathBuf>,
    root: RootFs,
    partial: Arc<Partial>,
    form: Form,
    name: Name,
    stop: Stop,
}

impl Work {
    fn done(self) -> Result<ExportedOci, ExportError> {
        let described = Description::of(self.sif.as_deref(), &self.root)?;
        let layout = self.partial.path("layout");
        let manifest = Layout::write(&layout, &self.root, &described, &self.name, &self.stop)?;
        let check = || self.stop.check().map_err(write_error(&layout));
        match self.form {
            Form::Layout => {
                check()?;
                self.partial.publish_layout(&layout)?;
            }
            Form::Archive => {
                let made = self.partial.path("archive");
                archive::write(&layout, &made, &self.stop).map_err(write_error(&made))?;
                check()?;
                self.partial.publish_file(&made)?;
            }
        }
        Ok(ExportedOci {
            digest: manifest.digest,
            tag: self.name.tag,
        })
    }
}

/// Source: the OCI distribution specification, version 1.1.
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_inner = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(is_inner)
}

impl IntoFuture for ExportOci {
    type Output = Result<ExportedOci, ExportError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.export())
    }
}

#[cfg(test)]
mod tests {
    use super::is_tag;

    #[test]
    fn tags_are_told_from_other_names() {
        for tag in ["latest", "3.12-slim", "_x", &"a".repeat(128)] {
            assert!(is_tag(tag), "{tag}");
        }
        for other in ["", ".a", "-a", "a/b", "a:b", "\u{e4}", &"a".repeat(129)] {
            assert!(!is_tag(other), "{other}");
        }
    }
}
