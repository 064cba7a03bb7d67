//! What shapes a container: flags shared by `exec`, `run` and the instances.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use super::CommandError;
use super::options::{Group, options};
use super::value::{
    Bind, BlkioWeight, Bytes, Capability, CpuShares, Device, DeviceWeight, FuseMount, Home, Mount,
    Network, NetworkArgs, NoMount, Overlay, Scratch, Security,
};
use crate::Version;
use crate::cgroup::{CpuList, Cpus, Limit};
use crate::environment::{Evaluation, VariableError, injected};

options! {
    /// Flags that every command takes which starts a container or joins one.
    ///
    /// With `instance://NAME` Apptainer ignores those that shape the file system,
    /// for it is there already.
    pub group ActionOptions {
        @variables variables;
        /// A capability to add.
        add_caps: joined(Capability) = "--add-caps";
        /// Lets setuid programs take effect (root only).
        allow_setuid: switch = "--allow-setuid";
        /// A SCIF app of the image.
        app: value(String) = "--app";
        /// A TOML file of cgroup limits; not together with the limits below.
        apply_cgroups: value(PathBuf) = "--apply-cgroups";
        /// A file with registry credentials, in Docker's format.
        authfile: value(PathBuf) = "--authfile" since Authfile;
        /// A file or directory of the host.
        bind: each(Bind) = "--bind";
        /// Relative weight of block input and output.
        blkio_weight: value(BlkioWeight) = "--blkio-weight";
        /// The same for one device.
        blkio_weight_device: list(DeviceWeight) = "--blkio-weight-device";
        /// Gives the container none of the host's environment but `TERM` and proxies.
        cleanenv: switch = "--cleanenv";
        /// As close to Docker as it gets: `containall`, `no_init`, `no_umask`,
        /// `no_eval` and `writable_tmpfs` at once.
        compat: switch = "--compat";
        /// A minimal `/dev`, and empty `/tmp` and home in place of the host's.
        contain: switch = "--contain";
        /// `contain`, own PID and IPC namespaces, and a clean environment.
        containall: switch = "--containall";
        /// Libraries of the host for `/.singularity.d/libs`.
        containlibs: list(PathBuf) = "--containlibs";
        /// Relative CPU weight.
        cpu_shares: value(CpuShares) = "--cpu-shares";
        /// How many CPUs' time: `1.5`.
        cpus: value(Cpus) = "--cpus";
        /// Which CPUs.
        cpuset_cpus: value(CpuList) = "--cpuset-cpus";
        /// Which memory nodes.
        cpuset_mems: value(CpuList) = "--cpuset-mems";
        /// Neither reads nor writes Apptainer's cache.
        disable_cache: switch = "--disable-cache";
        /// A DNS server.
        dns: joined(IpAddr) = "--dns";
        /// The Docker daemon to ask for `docker-daemon:` images.
        docker_host: value(String) = "--docker-host";
        /// Asks for a user name and password on the terminal.
        docker_login: switch = "--docker-login";
        /// A capability to take away.
        drop_caps: joined(Capability) = "--drop-caps";
        /// A file of `NAME=VALUE` lines for the container's environment.
        env_file: list(PathBuf) = "--env-file";
        /// Root inside, the caller outside.
        fakeroot: switch = "--fakeroot";
        /// A FUSE file system.
        fusemount: list(FuseMount) = "--fusemount";
        /// The home directory.
        home: value(Home) = "--home";
        /// The host name; implies its own UTS namespace.
        hostname: value(String) = "--hostname";
        /// Takes the fakeroot command to be missing.
        ignore_fakeroot_command: switch = "--ignore-fakeroot-command";
        /// Takes the user's subuid range to be missing.
        ignore_subuid: switch = "--ignore-subuid";
        /// Takes user namespaces to be missing.
        ignore_userns: switch = "--ignore-userns";
        /// Finds and binds Intel Gaudi devices.
        intel_hpu: switch = "--intel-hpu" since IntelHpu;
        /// Its own IPC namespace.
        ipc: switch = "--ipc";
        /// Leaves root all privileges (root only).
        keep_privs: switch = "--keep-privs";
        /// Limit of memory, in bytes.
        memory: value(Bytes) = "--memory";
        /// Soft limit of memory, in bytes.
        memory_reservation: value(Bytes) = "--memory-reservation";
        /// Limit of memory and swap together, in bytes.
        memory_swap: value(Limit) = "--memory-swap";
        /// A file or directory of the host, in the form that carries every path.
        mount: each(Mount) = "--mount";
        /// Its own network namespace.
        net: switch = "--net";
        /// The network namespace at this path.
        netns_path: value(PathBuf) = "--netns-path" since NetnsPath;
        /// A network to join.
        network: joined(Network) = "--network";
        /// Arguments for the plugins of one of the networks.
        network_args: list(NetworkArgs) = "--network-args";
        /// A variable of the host to keep out.
        no_env: list(String) = "--no-env" since NoEnv;
        /// Takes variables, entrypoint and arguments as they are, without a shell.
        no_eval: switch = "--no-eval";
        /// Leaves the home directory out.
        no_home: switch = "--no-home";
        /// Speaks HTTP to registries.
        no_https: switch = "--no-https";
        /// No shim as the first process of a PID namespace.
        no_init: switch = "--no-init";
        /// Leaves out a mount of `apptainer.conf`.
        no_mount: list(NoMount) = "--no-mount";
        /// Not `--nv`, whatever `apptainer.conf` says.
        no_nv: switch = "--no-nv";
        /// Takes all privileges from root (root only).
        no_privs: switch = "--no-privs";
        /// Not `--rocm`, whatever `apptainer.conf` says.
        no_rocm: switch = "--no-rocm";
        /// Umask 022 in place of the caller's.
        no_umask: switch = "--no-umask";
        /// Finds and binds Nvidia devices and libraries.
        nv: switch = "--nv";
        /// Sets GPUs up with `nvidia-container-cli`.
        nvccli: switch = "--nvccli";
        /// Leaves a process that is out of memory waiting in place of killing it.
        oom_kill_disable: switch = "--oom-kill-disable";
        /// A writable layer, or one more to read.
        overlay: list(Overlay) = "--overlay";
        /// Asks for the passphrase of an encrypted image on the terminal.
        passphrase: switch = "--passphrase";
        /// The RSA private key of an encrypted image.
        pem_path: value(PathBuf) = "--pem-path";
        /// Limit of processes.
        pids_limit: value(Limit) = "--pids-limit";
        /// Finds and binds AMD devices and libraries.
        rocm: switch = "--rocm";
        /// An empty, temporary directory.
        scratch: list(Scratch) = "--scratch";
        /// SELinux, AppArmor, seccomp, or another user.
        security: list(Security) = "--security";
        /// Where to unpack.
        tmpdir: value(PathBuf) = "--tmpdir";
        /// Binds onto an underlay in place of an overlay.
        underlay: switch = "--underlay";
        /// Unpacks a SIF image into a temporary sandbox first.
        unsquash: switch = "--unsquash";
        /// Its own user namespace, where setuid would be used.
        userns: switch = "--userns";
        /// Its own UTS namespace.
        uts: switch = "--uts";
        /// Where `contain` keeps `/tmp`, `/var/tmp` and the home directory.
        workdir: value(PathBuf) = "--workdir";
        /// The image itself is writable.
        writable: switch = "--writable";
        /// A writable layer in memory, lost at the end.
        writable_tmpfs: switch = "--writable-tmpfs";
    }
}

impl ActionOptions {
    /// A variable of the container's environment, whatever its value.
    ///
    /// It travels as `APPTAINERENV_NAME`, not as `--env`, which cannot carry
    /// every value. The last one set for a name counts.
    pub fn env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> &mut Self {
        self.variables.push((name.into(), value.into()));
        self
    }
}

impl Group for ActionOptions {
    fn emit(&self, argv: &mut Vec<OsString>) {
        self.emit_flags(argv);
    }

    fn check(&self, found: Version) -> Result<(), CommandError> {
        self.check_flags(found)
    }

    fn environment(&self) -> Result<Vec<(OsString, OsString)>, VariableError> {
        let evaluation = if self.no_eval || self.compat {
            Evaluation::Literal
        } else {
            Evaluation::Shell
        };
        self.variables
            .iter()
            .map(|(name, value)| injected(name, value, evaluation))
            .collect()
    }
}

options! {
    /// Flags that only the actions take which stay in the foreground:
    /// `exec`, `run`, `shell` and `test`.
    pub group ForegroundOptions {
        /// A directory with CDI device descriptions.
        cdi_dirs: list(PathBuf) = "--cdi-dirs" since Devices;
        /// The working directory; it must be there.
        cwd: value(PathBuf) = "--cwd" since Cwd;
        /// A CDI device.
        device: list(Device) = "--device" since Devices;
        /// Not its own PID namespace.
        ///
        /// Apptainer 1.4 accepts this and does nothing with it.
        no_pid: switch = "--no-pid" since NoPid;
        /// Its own PID namespace.
        pid: switch = "--pid";
        /// The working directory, for Apptainer before 1.3.
        pwd: value(PathBuf) = "--pwd";
        /// Shares one container with other commands of the same parent process.
        sharens: switch = "--sharens" since SharedNamespaces;
    }
}
