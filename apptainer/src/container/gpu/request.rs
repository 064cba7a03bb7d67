//! Which GPUs an instance is to have.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::Gpu;
use crate::container::{Settings, is_unset};

/// The GPUs that an instance is to have.
///
/// A device is named by its number, as the vendor's tools count them from 0, or by its UUID.
///
/// Apptainer shows a container all devices of a kind. Those that are named here are chosen by
/// the variables that the vendors' libraries read, `CUDA_VISIBLE_DEVICES` and
/// `ROCR_VISIBLE_DEVICES`: what runs in the container can set them otherwise. Only with
/// [`Gpu::NvidiaCli`] it sees no other devices, and has their numbers from 0.
///
/// A batch system chooses by the same variables; where the environment is clean
/// [`Spec::forward_env`](crate::instance::Spec::forward_env) passes its choice on.
///
/// ```
/// use apptainer::instance::Spec;
/// use apptainer::{Gpu, GpuRequest};
///
/// let second = GpuRequest::devices(Gpu::Nvidia, ["1"]);
/// let spec = Spec::new("train.sif").gpu_request(second);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuRequest {
    pub(crate) kind: Gpu,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(crate) devices: Vec<String>,
}

impl GpuRequest {
    /// All of a kind.
    pub fn all(kind: Gpu) -> Self {
        Self {
            kind,
            devices: Vec::new(),
        }
    }

    /// These of a kind.
    pub fn devices<D: Into<String>>(kind: Gpu, devices: impl IntoIterator<Item = D>) -> Self {
        Self {
            kind,
            devices: devices.into_iter().map(Into::into).collect(),
        }
    }

    pub(crate) fn add_to(&self, settings: &mut Settings) {
        let action = &mut settings.action;
        match self.kind {
            Gpu::Nvidia => action.nv(true),
            Gpu::NvidiaCli => action.nvccli(true),
            Gpu::Rocm => action.rocm(true),
        };
        let devices = OsString::from(self.devices.join(","));
        let is_chosen = !self.devices.is_empty();
        match self.kind {
            Gpu::Nvidia if is_chosen => {
                // The order of the numbers in `nvidia-smi`; CUDA has one of its own otherwise.
                let order = ("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into());
                let choice = ("CUDA_VISIBLE_DEVICES".into(), devices);
                settings.env.extend([order, choice]);
            }
            Gpu::Rocm if is_chosen => {
                let choice = ("ROCR_VISIBLE_DEVICES".into(), devices);
                settings.env.push(choice);
            }
            Gpu::NvidiaCli => settings.host_env.extend(cli_choice(is_chosen, devices)),
            Gpu::Nvidia | Gpu::Rocm => {}
        }
    }
}

/// What `nvidia-container-cli` reads: without it, it shows none to a container that is
/// contained.
fn cli_choice(is_chosen: bool, devices: OsString) -> Option<(OsString, OsString)> {
    const NAME: &str = "NVIDIA_VISIBLE_DEVICES";
    if is_chosen {
        return Some((NAME.into(), devices));
    }
    let inherited = std::env::var_os(NAME).filter(|value| !value.is_empty());
    inherited.is_none().then(|| (NAME.into(), "all".into()))
}
