//! What Apptainer leaves on disk.

mod config_dir;
pub mod instance;

pub use config_dir::{ConfigDir, host_name};
