//! What AMD's driver says in `/sys/class/kfd`.
//!
//! Source of the fields: the kernel's `drivers/gpu/drm/amd/amdkfd/kfd_topology.c`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::probe::{AmdGpus, GpuDevice, files};

pub(super) fn probe(root: &Path) -> AmdGpus {
    let class = root.join("sys/class/kfd");
    let mut nodes = files(&class.join("kfd/topology/nodes"));
    nodes.sort_by_key(|node| {
        let name = node.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok())
    });
    AmdGpus {
        has_driver: class.is_dir(),
        devices: nodes.iter().filter_map(|node| device(node)).collect(),
        device_files: device_files(root),
    }
}

/// What a node is, if it is a GPU and not a processor.
fn device(node: &Path) -> Option<GpuDevice> {
    let read = |name: &str| {
        let text = fs::read_to_string(node.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    // What is not open to this user has no number to read.
    if read("gpu_id")? == "0" {
        return None;
    }
    let properties = read("properties").unwrap_or_default();
    let property = |name: &str| {
        let mut lines = properties.lines();
        lines.find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.trim().parse::<u64>().ok()
        })
    };
    let unique = property("unique_id").filter(|id| *id != 0);
    Some(GpuDevice {
        model: read("name"),
        uuid: unique.map(|id| format!("GPU-{id:016x}")),
        bus: property("location_id").map(|place| bus(property("domain").unwrap_or(0), place)),
    })
}

/// As PCI numbers are written: bus, device and function are in one number.
fn bus(domain: u64, place: u64) -> String {
    let (bus, device, function) = ((place >> 8) & 0xff, (place >> 3) & 0x1f, place & 7);
    format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
}

fn device_files(root: &Path) -> Vec<PathBuf> {
    let is_render = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.starts_with(b"renderD")
    };
    let kfd = root.join("dev/kfd");
    let renders = files(&root.join("dev/dri")).into_iter().filter(is_render);
    kfd.exists()
        .then_some(kfd)
        .into_iter()
        .chain(renders)
        .collect()
}
