//! How an image's files reach a container.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use crate::Apptainer;

/// How an image's files reach a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rootfs {
    /// A program serves the SIF file's file system through FUSE.
    Fuse,
    /// The kernel mounts the SIF file's file system: for root, and with a setuid
    /// install.
    Kernel,
    /// A directory: a sandbox that was given, or one that the store extracted
    /// because neither of the other ways is open here.
    Sandbox,
}

impl Rootfs {
    /// How SIF files can be run here.
    ///
    /// Runs `apptainer` once where the answer depends on how it was built.
    pub(crate) fn for_sif_files(client: &Apptainer) -> Self {
        if nix::unistd::geteuid().is_root() {
            return Self::Kernel;
        }
        if is_fuse_open() {
            return Self::Fuse;
        }
        match client.install().build_config() {
            Ok(config) if config.is_suid() => Self::Kernel,
            _ => Self::Sandbox,
        }
    }
}

/// The only sure way to know is to open it.
fn is_fuse_open() -> bool {
    /// Character device 10, 229. Source: the kernel's `admin-guide/devices.txt`.
    const FUSE: u64 = 10 * 256 + 229;
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    opened
        .and_then(|device| device.metadata())
        .is_ok_and(|device| device.rdev() == FUSE)
}
