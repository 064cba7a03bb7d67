//! `apptainer verify --json`.

use serde::{Deserialize, Serialize};

use super::Unknown;

/// What `verify --json` prints, whether or not the signatures are good: that is
/// what its exit code says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verification {
    /// How many signatures were looked at.
    #[serde(rename = "Signatures")]
    pub signatures: u32,
    /// A signer for each object that is signed; `None` where there is none.
    #[serde(rename = "SignerKeys")]
    pub signer_keys: Option<Vec<SignerKey>>,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What wraps a [`Signer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SignerKey {
    /// The signer.
    #[serde(rename = "Signer")]
    pub signer: Signer,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Who signed an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Signer {
    /// The type of the object: `FS`.
    pub partition: String,
    /// The owner of the key.
    pub name: String,
    /// The key's fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Whether the key is in the local keyring.
    pub key_local: bool,
    /// Whether the signature is the key's.
    pub key_check: bool,
    /// Whether the object is what was signed.
    pub data_check: bool,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_signed_is_understood() {
        let text = r#"{"Signatures":0,"SignerKeys":null}"#;
        let verification: Verification = serde_json::from_str(text).unwrap();
        assert_eq!(verification, Verification::default());
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let text = r#"{"Signatures":1,"SignerKeys":[{"Signer":{"Partition":"FS","Name":"a",
            "Fingerprint":"85","KeyLocal":true,"KeyCheck":true,"DataCheck":false,"Later":7}}]}"#;
        let verification: Verification = serde_json::from_str(text).unwrap();
        let signer = &verification.signer_keys.as_ref().unwrap()[0].signer;
        assert!(!signer.data_check);
        assert_eq!(signer.unknown["Later"], 7);
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&verification).unwrap(), before);
    }
}
