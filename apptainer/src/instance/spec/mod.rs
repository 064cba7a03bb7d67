//! What an instance is to be, as data.

mod builder;
mod convert;
mod error;
mod hidden;
mod life;
mod network;
mod payload;
mod placeholder;
mod pooled;
#[cfg(test)]
mod tests;
mod validate;
mod words;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;
use serde::{Deserialize, Serialize};

pub use error::{Finding, SpecError};
pub use network::{Joined, Namespace, Privileges};
pub use payload::Payload;

use self::hidden::{ImageText, Variables};
use self::words::Umask;
use super::{Health, Limits, LogSettings, Port, seconds};
use crate::Contain;
use crate::container::{BindMount, GpuRequest, HomeDir, OverlayLayer, is_unset};

/// What an instance is to be: its image, what runs in it, and all that shapes it.
///
/// It is a description, and can be kept as JSON: what is not set is left out, and names that
/// are not known are refused. [`validate`](Self::validate) says everything that is wrong with
/// it at once, before anything is started.
///
/// ```
/// use apptainer::instance::{Payload, Spec};
///
/// let spec = Spec::new("docker://redis:7")
///     .name("cache")
///     .run(["--port", "{port:redis}"])
///     .bind("/srv/redis", "/data")
///     .env("TZ", "UTC");
///
/// let json = r#"{
///     "image": "docker://redis:7",
///     "payload": {"run": ["--port", "{port:redis}"]},
///     "name": "cache",
///     "binds": [{"source": "/srv/redis", "destination": "/data"}],
///     "env": {"TZ": "UTC"}
/// }"#;
/// assert_eq!(serde_json::from_str::<Spec>(json)?, spec);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Variables' values are not shown by its `Debug`, and neither is a password in the image's
/// URL. JSON has both.
///
/// # Coming from `ApptainerWorkspace`
///
/// What `OpenHands`' Python class has fields for is said like this:
///
/// | `ApptainerWorkspace` | here |
/// |---|---|
/// | `server_image`, `sif_file` | [`Spec::new`]: a reference, or a path |
/// | `platform` | [`Acquire::platform`](crate::image::Acquire::platform), when the image is had |
/// | `cache_dir` | [`Builder::store_dir`](crate::Builder::store_dir) |
/// | `working_dir` | [`current_dir`](Self::current_dir) |
/// | `mount_dir` | [`bind`](Self::bind) at `/workspace` |
/// | `extra_bind_mounts` | [`bind`](Self::bind), [`mount`](Self::mount) |
/// | `host_port` | [`port`](Self::port), one that has a number |
/// | `extra_ports` | [`port`](Self::port), as many as there are; all are kept free |
/// | `forward_env` | [`forward_env`](Self::forward_env); values never stand in an argv |
/// | `use_fakeroot` | [`fakeroot`](Self::fakeroot) |
/// | `enable_docker_compat` | [`contain`](Self::contain) with [`Contain::Docker`] |
/// | `disable_mount_locations` | [`no_mount`](Self::no_mount) |
/// | `enable_gpu` | [`gpu`](Self::gpu) |
/// | `health_check_timeout` | [`start_deadline`](Self::start_deadline), [`health`](Self::health) |
/// | `detach_logs` | always; [`logs`](Self::logs) says what becomes of them |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "a spec is a description until an instance of it is started"]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of Apptainer's, and none depends on another"
)]
pub struct Spec {
    pub(super) image: ImageText,
    #[serde(default, skip_serializing_if = "is_unset")]
    private_key: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) payload: Payload,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) name: Option<String>,

    #[serde(default, skip_serializing_if = "is_unset")]
    binds: Vec<BindMount>,
    #[serde(default, skip_serializing_if = "is_unset")]
    overlays: Vec<OverlayLayer>,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) temporary_overlay: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    writable_tmpfs: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    writable: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    scratch: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    workdir: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    home: Option<HomeDir>,
    #[serde(default, skip_serializing_if = "is_unset", with = "words::list")]
    no_mount: Vec<NoMount>,
    #[serde(default, skip_serializing_if = "is_unset")]
    contain: Contain,

    #[serde(default, skip_serializing_if = "is_unset")]
    env: Variables,
    #[serde(default, skip_serializing_if = "is_unset")]
    env_files: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    forward_env: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    no_env: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    clean_env: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    no_eval: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) current_dir: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset", with = "words::option")]
    pub(super) umask: Option<Umask>,
    #[serde(default, skip_serializing_if = "is_unset")]
    no_umask: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    no_init: bool,

    #[serde(default, skip_serializing_if = "is_unset")]
    namespaces: BTreeSet<Namespace>,
    #[serde(default, skip_serializing_if = "is_unset")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    networks: Vec<Joined>,
    #[serde(default, skip_serializing_if = "is_unset")]
    network_namespace: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    dns: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "is_unset")]
    gpus: Vec<GpuRequest>,

    #[serde(default, skip_serializing_if = "is_unset")]
    fakeroot: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    privileges: Privileges,
    #[serde(default, skip_serializing_if = "is_unset", with = "words::list")]
    add_capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "is_unset", with = "words::list")]
    drop_capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "is_unset")]
    allow_setuid: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    seccomp: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    apparmor: Option<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    selinux: Option<String>,
    #[serde(default, skip_serializing_if = "is_unset")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "is_unset")]
    gids: Vec<u32>,

    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) limits: Limits,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) ports: Vec<Port>,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) health: Option<Health>,
    #[serde(default, skip_serializing_if = "is_unset")]
    pub(super) logs: LogSettings,
    #[serde(default, skip_serializing_if = "is_unset", with = "seconds::option")]
    pub(super) start_deadline: Option<Duration>,
    #[serde(default, skip_serializing_if = "is_unset", with = "seconds::option")]
    pub(super) stop_grace: Option<Duration>,
    #[serde(default, skip_serializing_if = "is_unset", with = "words::option")]
    pub(super) stop_signal: Option<Signal>,
}
