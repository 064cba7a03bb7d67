//! What Apptainer leaves on disk.

mod cache;
mod config_dir;
pub mod instance;

pub use cache::{Cache, CacheKind, CachedFile};
pub use config_dir::{ConfigDir, host_name};
