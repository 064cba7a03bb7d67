//! Images on their way out of the store: as SIF files, into registries, as OCI images.

mod archive;
mod config;
mod date;
mod error;
mod layer;
mod layout;
mod oci;
mod partial;
mod push;
mod rootfs;
mod run;
mod sif;
mod sink;
mod tree;
mod unsquashfs;

pub use error::ExportError;
pub use oci::{ExportOci, ExportedOci};
pub use push::Push;
pub use sif::{ExportMode, ExportSif, Exported};
