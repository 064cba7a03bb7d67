//! Copying between the host and a container.

mod copy;
mod depth;
mod download;
mod local;
#[cfg(test)]
mod lying;
mod options;
mod resume;
mod stream;
mod tree_in;
mod tree_out;
mod upload;

pub use download::Download;
pub use options::{Progress, Report, Skipped, SpecialFiles};
pub use upload::Upload;
