//! The Singularity Image Format, read and written natively.
//!
//! Little-endian and packed: a header of 128 bytes, a table of descriptors of
//! 585 bytes each, and the data objects that they point at. Source: the reference
//! implementation, `github.com/apptainer/sif`, version 2.

mod descriptor;
mod error;
mod fields;
mod file;
mod header;
mod kind;
mod metadata;
mod object;
mod writer;

pub use descriptor::{Descriptor, Detail, Link};
pub use error::SifError;
pub use file::Sif;
pub use header::Header;
pub use kind::{
    Arch, DataType, FsType, HashType, MessageFormat, MessageType, PartitionType, SbomFormat,
};
pub use metadata::{App, Attributes, Data, Metadata, Unknown};
pub use object::{Object, SifFile};
pub use writer::SifWriter;
