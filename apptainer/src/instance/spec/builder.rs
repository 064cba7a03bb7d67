//! Making specs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;

use super::hidden::{ImageText, Variables};
use super::words::Umask;
use super::{Joined, Namespace, Payload, Privileges, Spec};
use crate::container::{BindMount, GpuRequest, HomeDir, OverlayLayer};
use crate::instance::{Health, Limits, LogSettings, Port};
use crate::{Contain, Gpu};

fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

/// What it is an instance of, and what runs in it.
impl Spec {
    /// An instance of this image, in which nothing runs: a reference such as
    /// `docker://redis:7`, or the path of a SIF file or a sandbox.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: ImageText(image.into()),
            private_key: None,
            payload: Payload::Nothing,
            name: None,
            binds: Vec::new(),
            overlays: Vec::new(),
            temporary_overlay: false,
            writable_tmpfs: false,
            writable: false,
            scratch: Vec::new(),
            workdir: None,
            home: None,
            no_mount: Vec::new(),
            contain: Contain::Nothing,
            env: Variables(BTreeMap::new()),
            env_files: Vec::new(),
            forward_env: BTreeSet::new(),
            no_env: BTreeSet::new(),
            clean_env: false,
            no_eval: false,
            current_dir: None,
            umask: None,
            no_umask: false,
            no_init: false,
            namespaces: BTreeSet::new(),
            hostname: None,
            networks: Vec::new(),
            network_namespace: None,
            dns: Vec::new(),
            gpus: Vec::new(),
            fakeroot: false,
            privileges: Privileges::Configured,
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            allow_setuid: false,
            seccomp: None,
            apparmor: None,
            selinux: None,
            uid: None,
            gids: Vec::new(),
            limits: Limits::default(),
            ports: Vec::new(),
            health: None,
            logs: LogSettings::default(),
            start_deadline: None,
            stop_grace: None,
            stop_signal: None,
        }
    }

    /// The same of another image.
    pub(crate) fn set_image(&mut self, image: impl Into<String>) {
        self.image = ImageText(image.into());
    }

    /// Whether what is seen of the image is more than it and a temporary layer.
    pub(crate) fn has_overlays(&self) -> bool {
        !self.overlays.is_empty()
    }

    /// Whether its user is root inside.
    pub(crate) fn is_fakeroot(&self) -> bool {
        self.fakeroot
    }

    /// The file of the private RSA key, in PEM, that the image is encrypted for.
    pub fn private_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.private_key = Some(path.into());
        self
    }

    /// What runs in it.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Runs the image's startscript with these arguments.
    pub fn start<W: Into<String>>(self, args: impl IntoIterator<Item = W>) -> Self {
        self.payload(Payload::Start(words(args)))
    }

    /// Runs the image's runscript with these arguments, as `apptainer run` does: with an image
    /// of Docker's, its entrypoint.
    pub fn run<W: Into<String>>(self, args: impl IntoIterator<Item = W>) -> Self {
        self.payload(Payload::Run(words(args)))
    }

    /// Runs a program in the container: a path, or a name on its `PATH`, and arguments.
    pub fn command<W: Into<String>>(self, argv: impl IntoIterator<Item = W>) -> Self {
        self.payload(Payload::Command(words(argv)))
    }

    /// What it is called: letters, digits, dots, underscores and dashes. Otherwise by a name
    /// that nobody else has.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// Its files.
impl Spec {
    /// Shows `source` of the host at `destination`, for reading and writing.
    pub fn bind(self, source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        self.mount(BindMount::new(source, destination))
    }

    /// Shows `source` of the host at `destination`, for reading.
    pub fn bind_read_only(
        self,
        source: impl Into<PathBuf>,
        destination: impl Into<PathBuf>,
    ) -> Self {
        self.mount(BindMount::new(source, destination).read_only())
    }

    /// Shows something of the host, or what is in an image there.
    pub fn mount(mut self, mount: BindMount) -> Self {
        self.binds.push(mount);
        self
    }

    /// Lays a writable directory, or an overlay image, over the image. What is written stays
    /// there.
    pub fn overlay(self, path: impl Into<PathBuf>) -> Self {
        self.layer(OverlayLayer::new(path))
    }

    /// Lays something over the image.
    pub fn layer(mut self, layer: OverlayLayer) -> Self {
        self.overlays.push(layer);
        self
    }

    /// Lays a directory over the image that is made for the instance, and removed with it: as
    /// large as the disk.
    pub fn temporary_overlay(mut self) -> Self {
        self.temporary_overlay = true;
        self
    }

    /// Lays a writable layer in memory over the image, lost at the end.
    ///
    /// It holds 64 MiB, unless the administrator chose another size.
    pub fn writable_tmpfs(mut self) -> Self {
        self.writable_tmpfs = true;
        self
    }

    /// Writes to the image itself, a sandbox.
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// An empty directory at this path, gone with the instance.
    pub fn scratch(mut self, path: impl Into<PathBuf>) -> Self {
        self.scratch.push(path.into());
        self
    }

    /// Where, on the host, scratch directories are kept, and what [`contain`](Self::contain)
    /// has in place of `/tmp`, `/var/tmp` and the home directory: in memory otherwise. For
    /// `contain` it has to be there; for scratch directories alone it is made.
    pub fn workdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.workdir = Some(path.into());
        self
    }

    /// The home directory.
    pub fn home(mut self, home: HomeDir) -> Self {
        self.home = Some(home);
        self
    }

    /// Leaves out a mount of `apptainer.conf`.
    pub fn no_mount(mut self, mount: NoMount) -> Self {
        self.no_mount.push(mount);
        self
    }

    /// How much of the host it does not see.
    pub fn contain(mut self, level: Contain) -> Self {
        self.contain = level;
        self
    }
}

/// The circumstances in which programs run.
impl Spec {
    /// Sets a variable for everything that runs in it.
    ///
    /// The value arrives as it is, whatever it holds, but for `{port:NAME}`, which stands for
    /// the number of a [port](Self::port). The name must be one that a shell can set, and not
    /// `HOME`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.0.insert(name.into(), value.into());
        self
    }

    /// A file of `NAME=VALUE` lines. What it sets goes before what [`env`](Self::env) and
    /// [`forward_env`](Self::forward_env) say of the same variable.
    pub fn env_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.env_files.push(path.into());
        self
    }

    /// Gives it this variable of the calling process's, if it is set when the instance is
    /// started: also where it gets nothing else of the host's environment.
    ///
    /// The value does not become part of the spec. So a batch system's choice of GPUs can be
    /// passed on, and a key.
    pub fn forward_env(mut self, name: impl Into<String>) -> Self {
        self.forward_env.insert(name.into());
        self
    }

    /// Keeps this variable of the host's out. Needs Apptainer 1.5.
    pub fn no_env(mut self, name: impl Into<String>) -> Self {
        self.no_env.insert(name.into());
        self
    }

    /// Gives it none of the host's environment but `TERM` and proxies.
    pub fn clean_env(mut self) -> Self {
        self.clean_env = true;
        self
    }

    /// Takes the entrypoint and arguments of an image of Docker's as they are, without a shell.
    pub fn no_eval(mut self) -> Self {
        self.no_eval = true;
        self
    }

    /// Where it runs, and its commands unless they say otherwise: a path in the container.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Which permissions the files that it makes do not have: of `0o777`. In JSON it is octal
    /// digits: `"027"`.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(Umask(mask));
        self
    }

    /// Umask 022 in place of the caller's.
    pub fn no_umask(mut self) -> Self {
        self.no_umask = true;
        self
    }

    /// No first process of Apptainer's that forwards signals and takes in orphans: what runs
    /// in the instance is the first.
    pub fn no_init(mut self) -> Self {
        self.no_init = true;
        self
    }
}

/// What it has to itself, and what of the machine it gets.
impl Spec {
    /// Gives it a namespace of its own.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespaces.insert(namespace);
        self
    }

    /// The name of its host.
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self
    }

    /// Gives it a network namespace of its own, and joins a network.
    pub fn network(mut self, network: Joined) -> Self {
        self.networks.push(network);
        self
    }

    /// Joins the network namespace at this path. Needs Apptainer 1.4.
    pub fn network_namespace(mut self, path: impl Into<PathBuf>) -> Self {
        self.network_namespace = Some(path.into());
        self
    }

    /// A DNS server, in place of the host's.
    pub fn dns(mut self, server: impl Into<IpAddr>) -> Self {
        self.dns.push(server.into());
        self
    }

    /// Brings in all of the machine's GPUs of a kind. Nvidia's and AMD's can be had together.
    pub fn gpu(self, gpu: Gpu) -> Self {
        self.gpu_request(GpuRequest::all(gpu))
    }

    /// Brings in GPUs.
    pub fn gpu_request(mut self, request: GpuRequest) -> Self {
        self.gpus.push(request);
        self
    }

    /// What it may use of the machine.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A port that is kept free for it. `{port:NAME}` stands for its number in arguments and in
    /// values of variables.
    pub fn port(mut self, port: Port) -> Self {
        self.ports.push(port);
        self
    }
}

/// Who it is, and what it may do.
impl Spec {
    /// Makes the user root inside, and only there.
    pub fn fakeroot(mut self) -> Self {
        self.fakeroot = true;
        self
    }

    /// What root keeps of its privileges.
    pub fn privileges(mut self, privileges: Privileges) -> Self {
        self.privileges = privileges;
        self
    }

    /// Adds a capability.
    pub fn add_capability(mut self, capability: Capability) -> Self {
        self.add_capabilities.push(capability);
        self
    }

    /// Takes a capability away.
    pub fn drop_capability(mut self, capability: Capability) -> Self {
        self.drop_capabilities.push(capability);
        self
    }

    /// Lets setuid programs take effect. Only root can ask for it.
    pub fn allow_setuid(mut self) -> Self {
        self.allow_setuid = true;
        self
    }

    /// A file with a seccomp profile.
    pub fn seccomp(mut self, path: impl Into<PathBuf>) -> Self {
        self.seccomp = Some(path.into());
        self
    }

    /// An AppArmor profile, by name.
    pub fn apparmor(mut self, profile: impl Into<String>) -> Self {
        self.apparmor = Some(profile.into());
        self
    }

    /// An SELinux label.
    pub fn selinux(mut self, label: impl Into<String>) -> Self {
        self.selinux = Some(label.into());
        self
    }

    /// The user that it runs as.
    pub fn uid(mut self, user: u32) -> Self {
        self.uid = Some(user);
        self
    }

    /// The groups that it runs with.
    pub fn gids(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.gids = groups.into_iter().collect();
        self
    }
}

/// Its life.
impl Spec {
    /// How to tell whether it is well.
    pub fn health(mut self, health: Health) -> Self {
        self.health = Some(health);
        self
    }

    /// What becomes of what it writes.
    pub fn logs(mut self, logs: LogSettings) -> Self {
        self.logs = logs;
        self
    }

    /// How long it may take until it is ready: two minutes otherwise.
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.start_deadline = Some(deadline);
        self
    }

    /// How long it may take to obey the signal that it is stopped by: 10 seconds otherwise.
    /// With none it is killed.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = Some(grace);
        self
    }

    /// The signal that it is stopped by: `SIGTERM` otherwise.
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = Some(signal);
        self
    }
}
