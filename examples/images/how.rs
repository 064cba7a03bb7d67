//! How images are had.

use std::time::Duration;

use apptainer::Image;
use apptainer::image::{Compression, Fingerprint, FingerprintError, PullPolicy, SignaturePolicy};
use clap::Args;

use crate::units;

/// What pulls and builds are told alike.
#[derive(Args)]
pub(crate) struct How {
    /// When to ask the registry: always, missing, never, or when it was last asked longer ago
    /// than, say, 1h
    #[arg(long, default_value = "1h", value_parser = policy)]
    pub(crate) policy: PullPolicy,
    /// Compress the SIF file with gzip, lz4, zstd or zstd:LEVEL
    #[arg(long)]
    pub(crate) compression: Option<Compression>,
    /// Take only what is signed with this key, or with any in the keyring
    #[arg(long, value_name = "FINGERPRINT|any", value_parser = key)]
    require_signature: Vec<Key>,
}

/// A key that may have signed an image.
#[derive(Debug, Clone, Copy)]
enum Key {
    Any,
    One(Fingerprint),
}

impl How {
    pub(crate) fn signatures(&self) -> SignaturePolicy {
        if self.require_signature.is_empty() {
            return SignaturePolicy::Ignore;
        }
        let one = |key: &Key| match key {
            Key::Any => None,
            Key::One(fingerprint) => Some(*fingerprint),
        };
        let keys: Vec<Fingerprint> = self.require_signature.iter().filter_map(one).collect();
        if keys.is_empty() {
            return SignaturePolicy::require_any_trusted();
        }
        SignaturePolicy::require(keys)
    }
}

fn key(text: &str) -> Result<Key, FingerprintError> {
    match text {
        "any" => Ok(Key::Any),
        fingerprint => fingerprint.parse().map(Key::One),
    }
}

fn policy(text: &str) -> Result<PullPolicy, String> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::IfMissing),
        "never" => Ok(PullPolicy::Never),
        age => {
            let age: Duration = units::duration(age)?;
            Ok(PullPolicy::IfOlderThan(age))
        }
    }
}

/// Says of an image what somebody may want to know before it is used.
pub(crate) fn remark(image: &Image) {
    if let Some(resolution) = image.resolution().filter(|resolution| resolution.is_stale) {
        let asked = units::ago(resolution.asked);
        eprintln!("the registry does not answer: this is what it said {asked}");
    }
    for signer in image.signatures().signers() {
        eprintln!("signed by {signer}");
    }
}
