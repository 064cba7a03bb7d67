//! Who signed an image, and whether that is good enough.

mod check;
mod error;
mod fingerprint;
mod group;
mod policy;
mod signer;
mod verdict;

pub(crate) use check::check;
pub use error::SignatureError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use policy::{SignaturePolicy, Trust};
pub use signer::{Signatures, Signer};
