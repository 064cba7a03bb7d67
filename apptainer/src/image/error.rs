//! Why an image could not be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::CommandError;
use apptainer_sys::exit::FailureKind;
use apptainer_sys::process::SpawnError;
use apptainer_sys::sif::SifError;

use super::{Holder, ReferenceError};
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

    /// Whether there is no such image: neither file nor in its registry.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { source, .. } if source.kind() == io::ErrorKind::NotFound)
            || self.kind() == Some(FailureKind::NotInRegistry)
    }

    /// Whether the registry wants a login, or another one.
    pub fn is_unauthorized(&self) -> bool {
        self.kind() == Some(FailureKind::Unauthorized)
    }
}
