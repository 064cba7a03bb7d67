//! Why an image's signatures do not do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::CommandError;
use apptainer_sys::process::SpawnError;
use apptainer_sys::sif::SifError;

use super::Signer;
use crate::error::ApptainerFailure;

/// An image is not signed as was asked for, or that could not be found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It carries no signature.
    #[error(
        "check who signed {}: nobody did; get a signed one, or sign it with `apptainer sign`",
        .image.display()
    )]
    Unsigned {
        /// The image.
        image: PathBuf,
    },
    /// It is not signed by anybody whom the policy trusts, or has a signature by a key that is
    /// not known, or no longer good.
    #[error(
        "check who signed {}: {} did, and {reason}; make sure whose key it is, then add it to the \
         keyring with `apptainer key import` and to the policy, or get an image by somebody else",
        .image.display(), names(.signers)
    )]
    NotTrusted {
        /// The image.
        image: PathBuf,
        /// Who signed what was looked at.
        signers: Vec<Signer>,
        /// Why they are not trusted.
        reason: String,
    },
    /// It is not what was signed.
    #[error(
        "check who signed {}: it was changed after that ({reason}); do not use it, and get it again",
        .image.display()
    )]
    Tampered {
        /// The image.
        image: PathBuf,
        /// What was changed, in Apptainer's words.
        reason: String,
    },
    /// There is something in it that no signature covers.
    #[error(
        "check who signed {}: not all of it is signed ({reason}); remove what was added, or have \
         it signed whole with `apptainer sign`",
        .image.display()
    )]
    Uncovered {
        /// The image.
        image: PathBuf,
        /// What is not signed.
        reason: String,
    },
    /// It is not a SIF file, or not a whole one; only these can be signed.
    #[error("check who signed {}: {source}", .image.display())]
    Invalid {
        /// The image.
        image: PathBuf,
        /// What is wrong with it.
        source: SifError,
    },
    /// Apptainer cannot be told to; nothing was started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// `apptainer` could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// `apptainer` could not check it.
    #[error("check who signed {}: {failure}", .image.display())]
    Apptainer {
        /// The image.
        image: PathBuf,
        /// What went wrong.
        failure: Box<ApptainerFailure>,
    },
    /// `apptainer` could not be read from, or did not say what it should.
    #[error("check who signed {}: read what apptainer says: {source}", .image.display())]
    Output {
        /// The image.
        image: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It took longer than it might.
    #[error(
        "check who signed {}: it took longer than {limit:?}; allow it more time, all of the image \
         is read",
        .image.display()
    )]
    TimedOut {
        /// The image.
        image: PathBuf,
        /// How long it might take.
        limit: Duration,
    },
}

impl SignatureError {
    /// Whether it says something about the image, and not that this could not be found out.
    pub fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::Unsigned { .. }
                | Self::NotTrusted { .. }
                | Self::Tampered { .. }
                | Self::Uncovered { .. }
        )
    }
}

fn names(signers: &[Signer]) -> String {
    let names: Vec<String> = signers.iter().map(Signer::to_string).collect();
    names.join(" and ")
}
