use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Gpus, MissingGpu};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn probe(root: &Path) -> Gpus {
    Gpus::probe_below(root, root.join("bin").as_os_str())
}

fn nvidia_driver(root: &Path, version: &str) {
    write(root, "proc/driver/nvidia/version", version);
}

fn nvidia_gpu(root: &Path, bus: &str, uuid: &str) {
    let information = format!(
        "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 86\nGPU UUID: \t {uuid}\n\
         Video BIOS: \t 92.00\nBus Type: \t PCIe\nBus Location: \t {bus}\nDevice Minor: \t 0\n"
    );
    let path = format!("proc/driver/nvidia/gpus/{bus}/information");
    write(root, &path, &information);
}

#[test]
fn nvidias_driver_gpus_and_files_are_found() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n\
                   GCC version:  gcc version 11.4.0\n";
    nvidia_driver(root, version);
    nvidia_gpu(root, "0000:3b:00.0", "GPU-1b2c");
    nvidia_gpu(root, "0000:0a:00.0", "GPU-????????-????");
    for name in ["nvidia0", "nvidiactl", "nvidia-uvm", "null"] {
        write(root, &format!("dev/{name}"), "");
    }
    let found = probe(root).nvidia;
    assert_eq!(found.driver.as_deref(), Some("535.104.05"));
    assert_eq!(found.missing(), None);
    assert_eq!(found.container_cli, None);
    assert_eq!(found.device_files.len(), 3);
    let [first, second] = found.devices.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(first.bus.as_deref(), Some("0000:0a:00.0"));
    assert_eq!(first.uuid, None);
    assert_eq!(second.uuid.as_deref(), Some("GPU-1b2c"));
    assert_eq!(second.model.as_deref(), Some("NVIDIA A100-SXM4-40GB"));
}

#[test]
fn the_open_drivers_version_is_found_too() {
    let root = tempfile::tempdir().unwrap();
    let version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release\n";
    nvidia_driver(root.path(), version);
    let found = probe(root.path()).nvidia;
    assert_eq!(found.driver.as_deref(), Some("550.54.14"));
}

#[test]
fn what_is_missing_of_nvidias_is_told_part_by_part() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let missing = || probe(root).nvidia.missing();
    assert!(matches!(missing(), Some(MissingGpu::Driver { .. })));
    nvidia_driver(root, "NVRM version: 1.2\n");
    assert!(matches!(missing(), Some(MissingGpu::Device { .. })));
    nvidia_gpu(root, "0000:3b:00.0", "GPU-1");
    write(root, "dev/nvidiactl", "");
    assert!(matches!(missing(), Some(MissingGpu::DeviceFile { .. })));
    write(root, "dev/nvidia3", "");
    assert_eq!(missing(), None);
}

#[test]
fn the_container_cli_is_a_program_on_path() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "bin/nvidia-container-cli", "");
    assert_eq!(probe(root).nvidia.container_cli, None);
    let cli = root.join("bin/nvidia-container-cli");
    fs::set_permissions(&cli, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(probe(root).nvidia.container_cli, Some(cli));
    let elsewhere = Gpus::probe_below(root, OsStr::new("/nowhere:"));
    assert_eq!(elsewhere.nvidia.container_cli, None);
}

#[test]
fn amds_gpus_are_told_from_processors() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let missing = || probe(root).amd.missing();
    assert!(matches!(missing(), Some(MissingGpu::Driver { .. })));
    let nodes = "sys/class/kfd/kfd/topology/nodes";
    write(root, &format!("{nodes}/0/gpu_id"), "0\n");
    assert!(matches!(missing(), Some(MissingGpu::Device { .. })));
    for (node, unique) in [(10, 0), (2, 0x0012_3456_789a_bcde_u64)] {
        write(root, &format!("{nodes}/{node}/gpu_id"), "4711\n");
        write(root, &format!("{nodes}/{node}/name"), "gfx90a\n");
        let properties =
            format!("cpu_cores_count 0\nlocation_id 49408\ndomain 1\nunique_id {unique}\n");
        write(root, &format!("{nodes}/{node}/properties"), &properties);
    }
    assert!(matches!(missing(), Some(MissingGpu::DeviceFile { .. })));
    for file in ["dev/kfd", "dev/dri/renderD128", "dev/dri/card0"] {
        write(root, file, "");
    }
    assert_eq!(missing(), None);
    let found = probe(root).amd;
    assert_eq!(found.device_files.len(), 2);
    assert_eq!(found.devices.len(), 2);
    let first = &found.devices[0];
    assert_eq!(first.uuid.as_deref(), Some("GPU-00123456789abcde"));
    assert_eq!(first.bus.as_deref(), Some("0001:c1:00.0"));
    assert_eq!(first.model.as_deref(), Some("gfx90a"));
    assert_eq!(found.devices[1].uuid, None);
}
