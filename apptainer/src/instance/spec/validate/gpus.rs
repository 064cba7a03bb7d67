//! GPUs that are asked for, and those that there are.

use crate::Gpu;
use crate::container::{GpuDevice, GpuRequest, Gpus, MissingGpu};
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

pub(super) fn check(spec: &Spec, gpus: &Gpus, findings: &mut Findings) {
    for (index, request) in spec.gpus.iter().enumerate() {
        let field = format!("gpus[{index}]");
        let earlier = &spec.gpus[..index];
        if earlier.iter().any(|other| vendor(other) == vendor(request)) {
            let problem = "the same vendor's are asked for already; say all in one";
            findings.add(format!("{field}.kind"), problem);
            continue;
        }
        check_devices(spec, request, gpus, &field, findings);
    }
}

/// Nvidia's are brought in by one way or by the other.
fn vendor(request: &GpuRequest) -> Gpu {
    match request.kind {
        Gpu::NvidiaCli => Gpu::Nvidia,
        kind => kind,
    }
}

/// Apptainer starts a container without GPUs, and says nothing.
fn missing(kind: Gpu, gpus: &Gpus) -> Option<MissingGpu> {
    match kind {
        Gpu::Nvidia | Gpu::NvidiaCli => gpus.nvidia.missing(),
        Gpu::Rocm => gpus.amd.missing(),
    }
}

fn check_devices(
    spec: &Spec,
    request: &GpuRequest,
    gpus: &Gpus,
    field: &str,
    findings: &mut Findings,
) {
    let kind = request.kind;
    if let Some(missing) = missing(kind, gpus) {
        let problem = format!("{missing}; run it where there are GPUs, or leave it out");
        findings.add(format!("{field}.kind"), problem);
        return;
    }
    if kind == Gpu::NvidiaCli && gpus.nvidia.container_cli.is_none() {
        let problem = "`nvidia-container-cli` is not on PATH; install it, or ask for `nvidia`";
        findings.add(format!("{field}.kind"), problem);
    }
    let there = match kind {
        Gpu::Nvidia | Gpu::NvidiaCli => &gpus.nvidia.devices,
        Gpu::Rocm => &gpus.amd.devices,
    };
    for (index, device) in request.devices.iter().enumerate() {
        let problem = not_there(device, there);
        findings.maybe(format!("{field}.devices[{index}]"), problem);
    }
    let variable = match kind {
        Gpu::Nvidia => "CUDA_VISIBLE_DEVICES",
        Gpu::NvidiaCli => "NVIDIA_VISIBLE_DEVICES",
        Gpu::Rocm => "ROCR_VISIBLE_DEVICES",
    };
    let is_set = spec.env.0.contains_key(variable) || spec.forward_env.contains(variable);
    if is_set && !request.devices.is_empty() {
        let problem = format!("the environment sets {variable}, which counts; leave one out");
        findings.add(format!("{field}.devices"), problem);
    }
}

fn not_there(device: &str, there: &[GpuDevice]) -> Option<String> {
    let count = there.len();
    if let Ok(number) = device.parse::<usize>() {
        let problem = format!("there are {count} GPUs, numbered from 0");
        return (number >= count).then_some(problem);
    }
    if !device.starts_with("GPU-") && !device.starts_with("MIG-") {
        return Some("a device is named by its number, or by its UUID: GPU-..".to_owned());
    }
    if device.contains(',') {
        return Some("it has a comma in it; name each device by itself".to_owned());
    }
    // Parts of a GPU have UUIDs of their own, and the driver does not know all at once.
    let known: Option<Vec<_>> = there.iter().map(|gpu| gpu.uuid.as_deref()).collect();
    let is_there = known?.iter().any(|uuid| uuid.starts_with(device));
    let problem = "no GPU of this machine has that UUID".to_owned();
    (!is_there && device.starts_with("GPU-")).then_some(problem)
}
