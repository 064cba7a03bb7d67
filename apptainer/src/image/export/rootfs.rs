//! An image's root file system as a directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ExportError;
use super::partial::Partial;
use super::unsquashfs;
use crate::blocking::blocking;
use crate::image::Image;
use crate::image::squashfs::{Unfit, squashfs_offset};

/// A root file system as a directory.
#[derive(Debug, Default)]
pub(super) struct RootFs {
    pub(super) path: PathBuf,
    /// Whether it was extracted for this export, and modes in it may be changed where a file
    /// cannot be read otherwise.
    pub(super) is_ours: bool,
    /// Bits of files' modes that extraction took away, by path within it.
    pub(super) lost_bits: HashMap<PathBuf, u32>,
}

impl RootFs {
    /// That of an image, extracted within `partial` if it is in a SIF file.
    ///
    /// A sandbox that the store has of the file is no help: Apptainer writes the time and its
    /// own version into each that it makes, and takes set-user-ID bits away.
    pub(super) async fn of(image: &Image, partial: &Arc<Partial>) -> Result<Self, ExportError> {
        let Some(sif) = image.sif().map(Path::to_owned) else {
            return Ok(Self {
                path: image.path().to_owned(),
                ..Self::default()
            });
        };
        let path = sif.clone();
        let offset = blocking(move || squashfs_offset(&path))
            .await
            .map_err(unfit(&sif))?;
        unsquashfs::extract(&sif, offset, partial).await
    }

    /// Where the file lies that is at `path` within it, if there is one, reached through no
    /// symbolic link: one of an image's might lead to anywhere on this machine.
    pub(super) fn file(&self, path: &str) -> Option<PathBuf> {
        let mut found = self.path.clone();
        let mut metadata = found.metadata().ok()?;
        for name in path.split('/') {
            found.push(name);
            metadata = found.symlink_metadata().ok()?;
            if metadata.is_symlink() {
                return None;
            }
        }
        metadata.is_file().then_some(found)
    }
}

fn unfit(path: &Path) -> impl FnOnce(Unfit) -> ExportError {
    let path = path.to_owned();
    move |unfit| match unfit {
        Unfit::Sif(source) => sif_error(&path)(source),
        Unfit::FileSystem(found) => ExportError::FileSystem { path, found },
    }
}

pub(super) fn sif_error(path: &Path) -> impl FnOnce(apptainer_sys::sif::SifError) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Sif { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_not_found_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = RootFs {
            path: folder.path().to_owned(),
            ..RootFs::default()
        };
        fs::create_dir(root.path.join("real")).unwrap();
        fs::write(root.path.join("real/file"), "").unwrap();
        symlink("real", root.path.join("folder")).unwrap();
        symlink("file", root.path.join("real/link")).unwrap();
        assert_eq!(root.file("real/file"), Some(root.path.join("real/file")));
        for other in ["folder/file", "real/link", "real", "real/nosuch"] {
            assert_eq!(root.file(other), None, "{other}");
        }
    }
}
