//! `apptainer overlay`: writable layers as files.

mod create;

pub use create::Create;
