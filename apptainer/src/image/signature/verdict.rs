//! What follows from what `apptainer verify` says of a group.

use std::path::Path;

use apptainer_sys::output::Verification;

use super::group::Group;
use super::{Fingerprint, SignatureError, Signer, Trust};

/// How a refusal that is about signatures begins.
const REFUSED: &str = "Failed to verify container: integrity: ";

/// Texts of refusals because of the key.
///
/// Source: what Apptainer 1.4.5 prints, here and below.
const NOT_TRUSTED: &[&str] = &[
    "signature made by unknown entity",
    "signature made by revoked key",
    "key expired",
    "signature expired",
    "key material not provided",
];

/// Texts of refusals because something is not as it was signed.
const TAMPERED: &[&str] = &[
    "integrity compromised",
    "signed object not found",
    "does not correspond to signing entity",
    ": invalid signature",
    " not valid: ",
];

/// Texts of refusals because something is not signed.
const UNCOVERED: &[&str] = &[
    "object not signed",
    "signature not found",
    "not associated with object group",
];

/// Who signed the group, where Apptainer is content and the signers are trusted.
pub(super) fn accept(
    image: &Path,
    group: &Group,
    trust: &Trust,
    verification: &Verification,
) -> Result<Vec<Signer>, SignatureError> {
    let entries = verification.signer_keys.iter().flatten().count();
    let expected = verification.signatures as usize * group.objects;
    // Each signature, over each object: what we and Apptainer read is the same.
    if entries == 0 || entries != expected {
        return Err(SignatureError::Uncovered {
            image: image.to_owned(),
            reason: format!(
                "apptainer verified {entries} and not {expected} objects in group {}",
                group.number
            ),
        });
    }
    let signers = signers(verification);
    let all_good = signers.iter().all(|signer| signer.is_verified);
    if all_good && signers.iter().any(|signer| trust.accepts(signer)) {
        return Ok(signers);
    }
    Err(SignatureError::NotTrusted {
        image: image.to_owned(),
        signers,
        reason: "the policy trusts none of these keys".into(),
    })
}

/// What is wrong with the group, where Apptainer ends with `message`; `None` where that is not
/// about signatures.
pub(super) fn refuse(
    image: &Path,
    group: &Group,
    verification: &Verification,
    message: &str,
) -> Option<SignatureError> {
    let image = image.to_owned();
    let reason = message.strip_prefix(REFUSED)?.to_owned();
    let says = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
    if says(NOT_TRUSTED) {
        let signers = with_claims(signers(verification), &group.claimed);
        Some(SignatureError::NotTrusted {
            image,
            signers,
            reason,
        })
    } else if says(TAMPERED) {
        Some(SignatureError::Tampered { image, reason })
    } else if says(UNCOVERED) {
        Some(SignatureError::Uncovered { image, reason })
    } else {
        None
    }
}

/// The signers that Apptainer names: each once, and good only if all that it signed is.
fn signers(verification: &Verification) -> Vec<Signer> {
    let mut signers: Vec<Signer> = Vec::new();
    for found in verification.signer_keys.iter().flatten() {
        let found = &found.signer;
        let is_good = found.key_check && found.data_check;
        let fingerprint: Option<Fingerprint> = found.fingerprint.parse().ok();
        let known = signers
            .iter_mut()
            .find(|known| known.fingerprint == fingerprint && known.name == found.name);
        match known {
            Some(known) => known.is_verified &= is_good,
            None => signers.push(Signer {
                name: found.name.clone(),
                fingerprint,
                has_local_key: found.key_local,
                is_verified: is_good,
            }),
        }
    }
    signers
}

/// These, and whoever else claims to have signed.
fn with_claims(mut signers: Vec<Signer>, claimed: &[Option<Fingerprint>]) -> Vec<Signer> {
    for claim in claimed {
        if !signers.iter().any(|signer| signer.fingerprint == *claim) {
            signers.push(Signer::claimed(*claim));
        }
    }
    signers
}
