//! Images: what they are called, where they come from, where they are kept.

mod acquire;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "used by builds next")
)]
mod definition;
mod error;
mod oci_reference;
mod progress;
mod pull;
mod reference;
mod rootfs;
mod scratch;
mod store;
mod turn;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Apptainer;

pub use acquire::Acquire;
pub use definition::{Definition, DefinitionError};
pub use error::ImageError;
pub use oci_reference::{OciReference, OciReferenceError};
pub use progress::{Phase, Progress};
pub use reference::{Reference, ReferenceError, Scheme};
pub use rootfs::Rootfs;
pub use turn::Holder;

/// An image that is on this machine and can be run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Image {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Apptainer,
    reference: Reference,
    sif: Option<PathBuf>,
    path: PathBuf,
    rootfs: Rootfs,
}

/// When so much time will have passed: in effect never, where that is too far to count.
fn deadline(limit: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + NEVER)
}

impl Image {
    /// What it was asked for as.
    pub fn reference(&self) -> &Reference {
        &self.inner.reference
    }

    /// What Apptainer is given to run: the SIF file, or a sandbox directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The SIF file, if it is one; also where a sandbox made of it is run.
    pub fn sif(&self) -> Option<&Path> {
        self.inner.sif.as_deref()
    }

    /// How its files reach the container.
    pub fn rootfs(&self) -> Rootfs {
        self.inner.rootfs
    }

    pub(crate) fn client(&self) -> &Apptainer {
        &self.inner.client
    }
}
