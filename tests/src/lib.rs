//! Real parts for tests: a registry on loopback, images made from what is on the
//! machine, and a place to work in that tells of leaks.

mod frozen;
mod image;
mod registry;
mod world;

pub use frozen::Frozen;
pub use image::{busybox_archive, busybox_program, busybox_sandbox, busybox_sif};
pub use registry::{Login, Registry};
pub use world::{World, builds_images};
