//! Why an image could not be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::{Exit, SpawnError};
use apptainer_sys::sif::{FsType, SifError};

use super::{
    DefinitionError, Holder, Platform, ReferenceError, RegistryError, SignatureError, Subject,
};
use crate::error::ApptainerFailure;

/// An image could not be had. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The text names no image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// There is no such file or directory.
    #[error("use the image {}: {source}", .path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a SIF image, or not a whole one.
    #[error("use the image {}: {source}", .path.display())]
    Invalid {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: SifError,
    },
    /// Apptainer cannot be told to; nothing was started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `apptainer` could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` could not fetch, convert or extract it.
    #[error("get the image {reference}: {failure}")]
    Apptainer {
        /// The image.
        reference: String,
        /// What went wrong.
        failure: Box<ApptainerFailure>,
    },
    /// The definition cannot be built; nothing was started.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// It is not signed as it has to be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It took longer than it might.
    #[error(
        "get the image {reference}: it took longer than {limit:?}; allow it more time, or see whether the registry answers"
    )]
    TimedOut {
        /// The image.
        reference: String,
        /// How long it might take.
        limit: Duration,
    },
    /// Somebody else has been fetching or extracting it for longer than one was to wait.
    #[error(
        "get the image {reference}: {holder} has been at it for longer than {limit:?}; see what \
         that does, or wait longer"
    )]
    Held {
        /// The image.
        reference: String,
        /// Who.
        holder: Holder,
        /// How long one was to wait.
        limit: Duration,
    },
    /// A registry, or another server, did not give it.
    #[error("get the image {reference}: {source}")]
    Registry {
        /// The image.
        reference: String,
        /// Why.
        source: Box<RegistryError>,
    },
    /// It is not here, and nobody is to be asked for it.
    #[error(
        "get the image {reference} for {platform}: it is not in the store, and the policy is to \
         ask nobody"
    )]
    Offline {
        /// The image.
        reference: String,
        /// For which machines.
        platform: Platform,
    },
    /// It is in use, and cannot be taken away.
    #[error(
        "remove the image {reference}: {} is in use; stop what runs in it first", .path.display()
    )]
    InUse {
        /// The image.
        reference: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Somebody could put something into the store who is not trusted.
    #[error(
        "use the image store at {}: user {owner} owns it, and its mode is {mode:o}: others could \
         replace the images there; use a directory of your own (chmod go-w), or one with the \
         sticky bit (chmod +t) that root, or a user named by `trust_user`, owns", .path.display()
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// The number of the user who owns it.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The store is somebody else's, and does not have the image.
    #[error(
        "write to the image store at {}: it is somebody else's; choose one with `store_dir`, and \
         name this one with `shared_store`", .path.display()
    )]
    ReadOnlyStore {
        /// The store.
        path: PathBuf,
    },
    /// As many images as may be are being made on this machine, and have been for longer than
    /// one was to wait.
    #[error(
        "make the image {reference}: {most} are being made here, as many as may be, and none was \
         finished within {limit:?}; wait longer, or allow more with `conversions`"
    )]
    Busy {
        /// The image.
        reference: String,
        /// How many may be made at the same time.
        most: usize,
        /// How long one was to wait.
        limit: Duration,
    },
    /// A program that images are made by is not there.
    #[error("make an image: there is no {program} on PATH; install squashfs-tools")]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// A program that images are made by failed.
    #[error("make an image: {}: {stderr} ({exit})", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// The file system of the SIF file is of a kind that cannot be taken apart.
    #[error("take {} apart: its file system is {found:?}; build it anew", .path.display())]
    FileSystem {
        /// The SIF file.
        path: PathBuf,
        /// What it is.
        found: FsType,
    },
    /// The store cannot be read or written.
    #[error("use the image store at {}: {source}", .path.display())]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ImageError {
    pub(super) fn registry(subject: Subject<'_>, source: RegistryError) -> Self {
        Self::Registry {
            reference: subject.to_string(),
            source: Box::new(source),
        }
    }

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
        match self {
            Self::Apptainer { failure, .. } => failure.failure.may_pass(),
            Self::Registry { source, .. } => source.may_pass(),
            _ => false,
        }
    }

    /// Whether there was no room left for it, or no more was allowed: it succeeds once there is,
    /// as after a [`Store::prune`](super::Store::prune).
    pub fn is_storage_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Store { source, .. } => {
                matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            _ => self.kind() == Some(FailureKind::DiskFull),
        }
    }

    /// Whether there is no such image: neither file nor in its registry.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Registry { source, .. } => source.is_not_found(),
            Self::Offline { .. } => true,
            _ => self.kind() == Some(FailureKind::NotInRegistry),
        }
    }

    /// Whether the registry wants a login, or another one.
    pub fn is_unauthorized(&self) -> bool {
        match self {
            Self::Registry { source, .. } => source.is_unauthorized(),
            _ => self.kind() == Some(FailureKind::Unauthorized),
        }
    }
}
