//! What is asked of an image.

use std::collections::BTreeSet;

use super::{Fingerprint, Signer};

/// What is asked of the signatures of an image before it is used.
///
/// Signatures are checked by `apptainer verify --local`: against the keyring in the client's
/// configuration directory (`keys/pgp-public`) and that of the machine
/// (`/etc/apptainer/global-pgp-public`). No key server is asked, and signatures in the format
/// of Singularity before 3.6, which can be forged, count for nothing.
///
/// A signature says who made an image and not which it is: another of the same signer will do
/// as well, one with less in it too. A digest in the reference says which.
///
/// ```
/// use apptainer::image::SignaturePolicy;
///
/// let policy = SignaturePolicy::require(["9882718A8A948D8E9F7E1347BD3F0253DE1AB7E2".parse()?]);
/// # Ok::<(), apptainer::image::FingerprintError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignaturePolicy {
    /// Nothing: signatures are not looked at.
    #[default]
    Ignore,
    /// Nothing, but a warning is written where [any trusted key](Trust::AnyKnown) would not do,
    /// and [kept](super::Signatures::problem).
    Warn,
    /// That every object in it is signed by somebody who is trusted, every signature is good,
    /// and every signer is known. Otherwise the image is not used.
    Require(Trust),
}

/// Who is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Whoever has a key in the keyring.
    AnyKnown,
    /// These keys, which must be in the keyring too.
    Only(BTreeSet<Fingerprint>),
}

impl SignaturePolicy {
    /// Asks for nothing, and warns of what is not signed by a key in the keyring.
    pub fn warn() -> Self {
        Self::Warn
    }

    /// Asks that all of an image is signed, by any key in the keyring.
    pub fn require_any_trusted() -> Self {
        Self::Require(Trust::AnyKnown)
    }

    /// Asks that all of an image is signed, by any of these keys, which are in the keyring.
    ///
    /// Others whose key is in the keyring may have signed it too. Without a fingerprint no
    /// image will do.
    pub fn require(fingerprints: impl IntoIterator<Item = Fingerprint>) -> Self {
        Self::Require(Trust::Only(fingerprints.into_iter().collect()))
    }
}

impl Trust {
    /// Whether what `signer` has signed is trusted.
    pub(super) fn accepts(&self, signer: &Signer) -> bool {
        signer.is_verified
            && match self {
                Self::AnyKnown => true,
                Self::Only(trusted) => signer.fingerprint.is_some_and(|key| trusted.contains(&key)),
            }
    }
}
