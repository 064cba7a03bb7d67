//! Why an image could not be taken out of the store.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::{Exit, SpawnError};
use apptainer_sys::sif::{FsType, SifError};

use crate::error::ApptainerFailure;
use crate::image::{CredentialError, ReferenceError};

/// An image could not be exported. The target is as it was, and so is the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The text names no image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Where the registry's credentials are kept cannot be read.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Images are not pushed there.
    #[error("push an image to {reference}: only oras:// and library:// take SIF files")]
    NotPushable {
        /// Where it was to go.
        reference: String,
    },
    /// The image is a directory, and it takes a SIF file.
    #[error(
        "export the image {}: it is a directory and not a SIF file; build one of it first", .path.display()
    )]
    NoSif {
        /// The image.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("write {}: it is there already; choose another place, or overwrite it", .path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The directory that was to be overwritten holds something else.
    #[error(
        "write {}: what is there is no OCI layout, and is not overwritten as one", .path.display()
    )]
    NotALayout {
        /// The target.
        path: PathBuf,
    },
    /// A file of the image cannot be read, or changed while it was.
    #[error("read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The layers of OCI images cannot hold a file of that name: it says there that another
    /// file was removed.
    #[error("export {}: in an OCI image, its name says that another file was removed", .path.display())]
    Whiteout {
        /// The file.
        path: PathBuf,
    },
    /// The SIF file is damaged.
    #[error("read {}: {source}", .path.display())]
    Sif {
        /// The SIF file.
        path: PathBuf,
        /// What is wrong with it.
        source: SifError,
    },
    /// The file system in the SIF file is not one that can be read here: an encrypted one, say.
    #[error(
        "export {}: its file system is {found} and not Squashfs; build a sandbox of it and export that", .path.display()
    )]
    FileSystem {
        /// The SIF file.
        path: PathBuf,
        /// What it is.
        found: FsType,
    },
    /// The program that takes SIF files apart is not installed.
    #[error(
        "find unsquashfs: it is not on PATH; install squashfs-tools, which Apptainer needs too"
    )]
    NoUnsquashfs,
    /// The program that takes SIF files apart failed.
    #[error("extract {}: {stderr} ({exit})", .path.display())]
    Extract {
        /// The SIF file.
        path: PathBuf,
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// Apptainer cannot be told to; nothing was started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A program could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` could not push it.
    #[error("push the image to {reference}: {failure}")]
    Apptainer {
        /// Where it was to go.
        reference: String,
        /// What went wrong.
        failure: Box<ApptainerFailure>,
    },
    /// It took longer than it might.
    #[error("export the image to {target}: it took longer than {limit:?}; allow it more time")]
    TimedOut {
        /// Where it was to go.
        target: String,
        /// How long it might take.
        limit: Duration,
    },
}

impl ExportError {
    /// What kind of failure of Apptainer it is, if it is one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Apptainer { failure, .. } => Some(failure.kind()),
            _ => None,
        }
    }

    /// Whether the same may well succeed a little later: the registry was busy, or a connection
    /// broke.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Apptainer { failure, .. } if failure.failure.may_pass())
    }

    /// Whether the registry wants a login, or another one.
    pub fn is_unauthorized(&self) -> bool {
        self.kind() == Some(FailureKind::Unauthorized)
    }

    /// Whether something is at the target already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }
}

/// For what fails when `path` is read.
pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Read { path, source }
}

/// For what fails when `path` is written.
pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Write { path, source }
}
