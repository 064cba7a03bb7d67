//! Who signed an image.

use std::fmt;

use super::{Fingerprint, SignatureError};

/// What was found out of an image's signatures; nothing, where they were to be ignored.
#[derive(Debug, Default)]
pub struct Signatures {
    pub(super) signers: Vec<Signer>,
    pub(super) problem: Option<SignatureError>,
}

/// Somebody who signed an image, or part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Signer {
    /// Whom the key belongs to, `Ann <ann@example.org>`; empty where the key is not known.
    pub name: String,
    /// The key; `None` where it is not an OpenPGP one.
    pub fingerprint: Option<Fingerprint>,
    /// Whether the key is in the user's keyring, and not only in that of the machine.
    pub has_local_key: bool,
    /// Whether the key is known, the signature is made with it, and what it covers is as it was
    /// signed. What is not verified is only a claim: anybody can make it.
    pub is_verified: bool,
}

impl Signatures {
    /// Who signed the image; each once.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Why it would not have done, where the policy only
    /// [warns](super::SignaturePolicy::Warn).
    pub fn problem(&self) -> Option<&SignatureError> {
        self.problem.as_ref()
    }
}

impl Signer {
    /// Whoever a signature claims to be by.
    pub(super) fn claimed(fingerprint: Option<Fingerprint>) -> Self {
        Self {
            name: String::new(),
            fingerprint,
            has_local_key: false,
            is_verified: false,
        }
    }
}

/// The name and the key.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.fingerprint) {
            ("", Some(fingerprint)) => write!(f, "{fingerprint}"),
            ("", None) => write!(f, "a key that is not an OpenPGP one"),
            (name, Some(fingerprint)) => write!(f, "{name} ({fingerprint})"),
            (name, None) => write!(f, "{name}"),
        }
    }
}
