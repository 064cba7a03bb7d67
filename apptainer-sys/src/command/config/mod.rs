//! `apptainer config`: the installation's configuration.

mod fakeroot;
mod global;

pub use fakeroot::Fakeroot;
pub use global::Global;
