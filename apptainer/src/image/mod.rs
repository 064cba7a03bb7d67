//! Images: what they are called, where they come from, where they are kept.

mod acquire;
mod build;
mod commit;
mod conversion;
mod convert;
mod definition;
mod digest;
mod error;
mod export;
mod fetch;
mod layout;
mod make;
mod oci_reference;
mod options;
mod patience;
mod platform;
mod progress;
mod redact;
mod reference;
pub(crate) mod registry;
mod resolve;
mod rootfs;
mod signature;
mod slots;
mod squashfs;
pub(crate) mod store;
mod upper;

use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::Spawn;
use tokio::time::Instant;

use crate::Apptainer;

pub use acquire::Acquire;
pub use build::Build;
pub(crate) use commit::Commit;
pub use conversion::{Compression, CompressionError};
pub use definition::{Definition, DefinitionError};
pub(crate) use digest::hex;
pub use error::ImageError;
pub use export::{ExportError, ExportMode, ExportOci, ExportSif, Exported, ExportedOci, Push};
pub use oci_reference::{OciReference, OciReferenceError};
pub use platform::{Platform, PlatformError};
pub use progress::{Layer, Phase, Progress};
pub(crate) use redact::redacted;
pub use reference::{Reference, ReferenceError, Scheme};
pub use registry::{CertificateError, CredentialError, HelperProblem, RegistryError};
pub use resolve::{PullPolicy, Resolution};
pub use rootfs::Rootfs;
pub use signature::{
    Fingerprint, FingerprintError, SignatureError, SignaturePolicy, Signatures, Signer, Trust,
};
pub use store::{Damage, Form, Holder, Prune, Pruned, Store, StoredImage, Usage};

use conversion::Conversion;
use options::Options;
use store::InUse;

pub use crate::lock::Locking;

/// An image that is on this machine and can be run. Cheap to clone.
///
/// For as long as there is one, the store does not take the image away; nor while an instance of
/// it runs, or a link.
#[derive(Debug, Clone)]
pub struct Image {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Apptainer,
    reference: Reference,
    resolution: Option<Resolution>,
    sif: Option<PathBuf>,
    path: PathBuf,
    rootfs: Rootfs,
    signatures: Signatures,
    /// What the store is not to take away.
    in_use: Vec<InUse>,
}

/// What errors name: a reference, or a definition.
type Subject<'a> = &'a (dyn fmt::Display + Send + Sync);

/// When so much time will have passed: in effect never, where that is too far to count.
fn deadline(limit: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + NEVER)
}

impl Image {
    fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What it was asked for as.
    pub fn reference(&self) -> &Reference {
        &self.inner.reference
    }

    /// What its name stood for, and when that was asked for; of a path, nothing.
    pub fn resolution(&self) -> Option<&Resolution> {
        self.inner.resolution.as_ref()
    }

    /// The digest of its manifest, if it came from a registry: what is run by this is always the
    /// same.
    pub fn digest(&self) -> Option<&str> {
        self.resolution()?.digest.as_deref()
    }

    /// What Apptainer is given to run: the SIF file, or a sandbox directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The SIF file, if it is one; also where a sandbox made of it is run.
    pub fn sif(&self) -> Option<&Path> {
        self.inner.sif.as_deref()
    }

    /// Who signed it, as far as [that was asked for](Acquire::signatures).
    pub fn signatures(&self) -> &Signatures {
        &self.inner.signatures
    }

    /// How its files reach the container.
    pub fn rootfs(&self) -> Rootfs {
        self.inner.rootfs
    }

    /// Gives locks to a process that may outlive this one, by which the image stays for as long
    /// as that runs.
    pub(crate) fn lend(&self, spawn: &mut Spawn) {
        /// The first of their numbers: after those of an agent.
        const FIRST: RawFd = 203;
        for (number, entry) in (FIRST..).zip(&self.inner.in_use) {
            match entry.lock() {
                Ok(Some(lock)) => {
                    spawn.inherit(lock, number);
                }
                Ok(None) => {}
                // Somebody has removed it by hand, which Apptainer will say.
                Err(error) => tracing::debug!(%error, "an image in use cannot be locked"),
            }
        }
    }

    pub(crate) fn client(&self) -> &Apptainer {
        &self.inner.client
    }
}
