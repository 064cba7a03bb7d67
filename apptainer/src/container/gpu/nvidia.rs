//! What Nvidia's driver says in `/proc/driver/nvidia`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::probe::{GpuDevice, NvidiaGpus, files};

pub(super) fn probe(root: &Path, search: &OsStr) -> NvidiaGpus {
    let driver = root.join("proc/driver/nvidia");
    let information = files(&driver.join("gpus")).into_iter().filter_map(|gpu| {
        let text = fs::read_to_string(gpu.join("information")).ok()?;
        Some(device(&text))
    });
    NvidiaGpus {
        driver: fs::read_to_string(driver.join("version"))
            .ok()
            .map(|text| version(&text)),
        devices: information.collect(),
        device_files: device_files(root),
        container_cli: container_cli(search),
    }
}

/// The number in a line such as `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05`.
fn version(text: &str) -> String {
    let is_number = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_digit())
            && word.contains('.')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace()
        .find(is_number)
        .unwrap_or(line)
        .to_owned()
}

fn device(information: &str) -> GpuDevice {
    let field = |name: &str| {
        let mut lines = information.lines();
        let value = lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == name).then(|| value.trim().to_owned())
        });
        value.filter(|value| !value.is_empty())
    };
    GpuDevice {
        model: field("Model"),
        // The driver has question marks in place of what it does not know yet.
        uuid: field("GPU UUID").filter(|uuid| !uuid.contains('?')),
        bus: field("Bus Location"),
    }
}

fn device_files(root: &Path) -> Vec<PathBuf> {
    let is_nvidia = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.starts_with(b"nvidia") && !path.is_dir()
    };
    files(&root.join("dev"))
        .into_iter()
        .filter(is_nvidia)
        .collect()
}

fn container_cli(search: &OsStr) -> Option<PathBuf> {
    let mut places = std::env::split_paths(search).map(|place| place.join("nvidia-container-cli"));
    places.find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
}
