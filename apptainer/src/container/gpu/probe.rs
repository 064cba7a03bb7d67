//! Which GPUs there are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::{amd, nvidia};

/// The GPUs of this machine, and what of their drivers is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gpus {
    /// Nvidia's.
    pub nvidia: NvidiaGpus,
    /// AMD's.
    pub amd: AmdGpus,
}

/// Nvidia's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NvidiaGpus {
    /// The version of the kernel's driver, if it is there.
    pub driver: Option<String>,
    /// The GPUs, in the order of their places on the bus, by which they are numbered.
    pub devices: Vec<GpuDevice>,
    /// The device files: `/dev/nvidia0`, `/dev/nvidiactl` and others.
    pub device_files: Vec<PathBuf>,
    /// `nvidia-container-cli`, if it is on `PATH`.
    pub container_cli: Option<PathBuf>,
}

/// AMD's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmdGpus {
    /// Whether the kernel's driver is there, with what computing needs.
    pub has_driver: bool,
    /// The GPUs, in the order in which they are numbered.
    pub devices: Vec<GpuDevice>,
    /// The device files: `/dev/kfd` and `/dev/dri/renderD128`.
    pub device_files: Vec<PathBuf>,
}

/// One GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GpuDevice {
    /// What it is: `NVIDIA A100-SXM4-40GB`, `gfx90a`.
    pub model: Option<String>,
    /// Its UUID, if it has one: `GPU-` and hexadecimal digits.
    pub uuid: Option<String>,
    /// Its place on the bus: `0000:3b:00.0`.
    pub bus: Option<String>,
}

/// Why a machine's GPUs cannot be used, by the first thing that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MissingGpu {
    /// The kernel has no driver.
    #[error("there is no driver: {looked_for} is not there")]
    Driver {
        /// What was looked for.
        looked_for: &'static str,
    },
    /// The driver has no GPU.
    #[error("the driver is there, and no GPU: {looked_for} has none")]
    Device {
        /// What was looked for.
        looked_for: &'static str,
    },
    /// There are GPUs, and nothing to open them by.
    #[error(
        "there are GPUs, and no device file for them: {looked_for} is not there; in a container, or under a batch system, it may be that none was given"
    )]
    DeviceFile {
        /// What was looked for.
        looked_for: &'static str,
    },
}

impl Gpus {
    /// Looks at this machine. Reads a few files of `/proc` and `/sys`, and starts nothing.
    ///
    /// # Limitations
    ///
    /// - Where Nvidia's driver has no `/proc/driver/nvidia`, as under WSL and on Tegra, none are
    ///   found.
    /// - A batch system may keep some from this process that are found all the same.
    pub fn probe() -> Self {
        let search = std::env::var_os("PATH").unwrap_or_default();
        Self::probe_below(Path::new("/"), &search)
    }

    /// The same with another root, and other directories for programs.
    pub(super) fn probe_below(root: &Path, search: &OsStr) -> Self {
        Self {
            nvidia: nvidia::probe(root, search),
            amd: amd::probe(root),
        }
    }
}

impl NvidiaGpus {
    /// What is missing for a container to have them.
    pub fn missing(&self) -> Option<MissingGpu> {
        if self.driver.is_none() {
            let looked_for = "/proc/driver/nvidia/version";
            return Some(MissingGpu::Driver { looked_for });
        }
        if self.devices.is_empty() {
            let looked_for = "/proc/driver/nvidia/gpus";
            return Some(MissingGpu::Device { looked_for });
        }
        let looked_for = "/dev/nvidia0 or another with a number";
        let has_file = self.device_files.iter().any(|path| is_device(path));
        (!has_file).then_some(MissingGpu::DeviceFile { looked_for })
    }
}

/// Whether it is the file of a GPU, not one that all share.
fn is_device(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let number = name.strip_prefix("nvidia");
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

impl AmdGpus {
    /// What is missing for a container to have them.
    pub fn missing(&self) -> Option<MissingGpu> {
        if !self.has_driver {
            let looked_for = "/sys/class/kfd";
            return Some(MissingGpu::Driver { looked_for });
        }
        if self.devices.is_empty() {
            let looked_for = "/sys/class/kfd/kfd/topology/nodes";
            return Some(MissingGpu::Device { looked_for });
        }
        let looked_for = "/dev/kfd";
        let has_file = self.device_files.iter().any(|path| path.ends_with("kfd"));
        (!has_file).then_some(MissingGpu::DeviceFile { looked_for })
    }
}

/// The files of a directory, in order; none if it is not there.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
