//! Real parts for tests: a registry on loopback, images made from what is on the
//! machine, and a place to work in that tells of leaks.

mod authority;
mod encrypted;
mod frozen;
mod image;
mod openhands_python;
mod registry;
mod server;
mod world;

pub use authority::Authority;
pub use encrypted::EncryptedServer;
pub use frozen::Frozen;
pub use image::{busybox_archive, busybox_program, busybox_sandbox, busybox_sif};
pub use openhands_python::openhands_python;
pub use registry::{Login, Registry};
pub use server::{Request, Server, respond};
pub use world::{World, builds_images};
