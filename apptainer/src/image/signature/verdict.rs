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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ANN: &str = "9882718a8a948d8e9f7e1347bd3f0253de1ab7e2";
    const BEN: &str = "a2f6ef05eb63a612d2d55997b3bb75000c479859";

    fn key(text: &str) -> Fingerprint {
        text.parse().unwrap()
    }

    /// A group of two objects that claims to be signed by these.
    fn group(claimed: &[&str]) -> Group {
        Group {
            number: 1,
            objects: 2,
            claimed: claimed.iter().map(|text| Some(key(text))).collect(),
        }
    }

    /// As many signatures, and entries of who signed: `(fingerprint, is the data as it was)`.
    fn verification(signatures: u32, entries: &[(&str, bool)]) -> Verification {
        let entries = entries.iter().map(|(fingerprint, data_check)| {
            json!({"Signer": {
                "Partition": "FS", "Name": "somebody", "Fingerprint": fingerprint,
                "KeyLocal": true, "KeyCheck": true, "DataCheck": data_check,
            }})
        });
        let entries: Vec<_> = entries.collect();
        let document = json!({"Signatures": signatures, "SignerKeys": entries});
        serde_json::from_value(document).unwrap()
    }

    fn accepted(
        trust: &Trust,
        signatures: u32,
        entries: &[(&str, bool)],
    ) -> Result<Vec<Signer>, SignatureError> {
        let verification = verification(signatures, entries);
        accept(Path::new("a.sif"), &group(&[ANN]), trust, &verification)
    }

    fn only(keys: &[&str]) -> Trust {
        Trust::Only(keys.iter().map(|text| key(text)).collect())
    }

    fn refused(said: &str) -> Option<SignatureError> {
        let verification = verification(1, &[]);
        refuse(Path::new("a.sif"), &group(&[ANN]), &verification, said)
    }

    #[test]
    fn a_signer_is_named_once_for_all_that_was_signed() {
        let signers = accepted(&Trust::AnyKnown, 1, &[(ANN, true), (ANN, true)]).unwrap();
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].fingerprint, Some(key(ANN)));
        assert!(signers[0].is_verified);
    }

    #[test]
    fn one_of_the_named_keys_is_enough_and_another_is_not() {
        let both = [(ANN, true), (ANN, true), (BEN, true), (BEN, true)];
        for named in [&[ANN][..], &[BEN], &[ANN, BEN]] {
            assert_eq!(accepted(&only(named), 2, &both).unwrap().len(), 2);
        }
        let by_ann = [(ANN, true), (ANN, true)];
        for named in [&[BEN][..], &[]] {
            let error = accepted(&only(named), 1, &by_ann).unwrap_err();
            assert!(matches!(error, SignatureError::NotTrusted { .. }));
        }
    }

    #[test]
    fn what_is_verified_must_be_all_that_is_there() {
        let fewer = [(ANN, true)];
        let more = [(ANN, true), (ANN, true), (ANN, true)];
        for (signatures, entries) in [(1, &fewer[..]), (1, &more), (0, &[]), (2, &more)] {
            let error = accepted(&Trust::AnyKnown, signatures, entries).unwrap_err();
            assert!(matches!(error, SignatureError::Uncovered { .. }), "{error}");
        }
    }

    #[test]
    fn a_signer_whose_data_is_not_as_it_was_is_trusted_by_nobody() {
        let entries = [(ANN, true), (ANN, true), (BEN, true), (BEN, false)];
        for trust in [Trust::AnyKnown, only(&[ANN]), only(&[BEN])] {
            let error = accepted(&trust, 2, &entries).unwrap_err();
            assert!(matches!(error, SignatureError::NotTrusted { .. }));
        }
    }

    #[test]
    fn an_unknown_signer_is_named_by_the_claim() {
        let said = "Failed to verify container: integrity: signature object 5 not valid: \
            openpgp: signature made by unknown entity";
        let verification = verification(2, &[(ANN, true), (ANN, true)]);
        let group = group(&[ANN, BEN]);
        let error = refuse(Path::new("a.sif"), &group, &verification, said).unwrap();
        let SignatureError::NotTrusted { signers, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(signers[0].name, "somebody");
        assert_eq!(signers[1], Signer::claimed(Some(key(BEN))));
    }

    #[test]
    fn refusals_are_told_apart() {
        let kind = |said: &str| match refused(&format!("{REFUSED}{said}")) {
            Some(SignatureError::NotTrusted { .. }) => "not trusted",
            Some(SignatureError::Tampered { .. }) => "tampered",
            Some(SignatureError::Uncovered { .. }) => "uncovered",
            _ => "other",
        };
        let cases = [
            (
                "signature object 4 not valid: openpgp: signature made by unknown entity",
                "not trusted",
            ),
            (
                "signature object 4 not valid: openpgp: key expired",
                "not trusted",
            ),
            (
                "key material not provided for DSSE envelope signature",
                "not trusted",
            ),
            (
                "signature object 4 not valid: openpgp: invalid signature: RSA verification failure",
                "tampered",
            ),
            ("data object integrity compromised: 3", "tampered"),
            (
                "data object descriptor integrity compromised: 3",
                "tampered",
            ),
            ("header integrity compromised", "tampered"),
            ("object 4: signed object not found", "tampered"),
            (
                "fingerprint in descriptor does not correspond to signing entity",
                "tampered",
            ),
            ("object 5: object not signed", "uncovered"),
            ("signature not found for object group 1", "uncovered"),
            (
                "non-signature object not associated with object group",
                "uncovered",
            ),
            ("something new", "other"),
        ];
        for (said, expected) in cases {
            assert_eq!(kind(said), expected, "{said}");
        }
        // The name of a file is no verdict.
        let path =
            "Failed to verify container: open /integrity compromised: no such file or directory";
        assert!(refused(path).is_none());
    }
}
