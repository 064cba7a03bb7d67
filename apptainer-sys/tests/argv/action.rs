//! What runs a program in a container.

use std::net::IpAddr;
use std::time::Duration;

use apptainer_sys::cgroup::{CpuList, Limit};
use apptainer_sys::command::{
    Access, ActionOptions, Bind, Capability, Device, DeviceWeight, Exec, ForegroundOptions,
    FuseMount, Home, Mount, Network, NetworkArgs, NoMount, Overlay, PortMap, Protocol, Run,
    Scratch, Security, Subcommand,
};
use insta::assert_snapshot;

use crate::rendered;

/// Sets every flag that shapes a container.
pub(crate) fn set_all(action: &mut ActionOptions) {
    let http = PortMap {
        host: 8080,
        container: 80,
        protocol: Protocol::Tcp,
    };
    action
        .add_caps(Capability::NetRaw)
        .add_caps(Capability::SysPtrace)
        .allow_setuid(true)
        .app("tool")
        .apply_cgroups("/etc/limits.toml")
        .authfile("auth.json")
        .bind(Bind::new("/srv/a:b"))
        .bind(Bind::new("/srv/c").to("/c").read_only())
        .blkio_weight(500)
        .blkio_weight_device(DeviceWeight::new("/dev/sda", 500))
        .cleanenv(true)
        .compat(true)
        .contain(true)
        .containall(true)
        .containlibs("/usr/lib/libcuda.so")
        .containlibs("/opt/a,b.so")
        .cpu_shares(512)
        .cpus(1.5)
        .cpuset_cpus(CpuList::from_iter([0, 1, 2, 3, 8]))
        .cpuset_mems(CpuList::from_iter([0]))
        .disable_cache(true)
        .dns(IpAddr::from([9, 9, 9, 9]))
        .dns(IpAddr::from([1, 1, 1, 1]))
        .docker_host("tcp://localhost:2375")
        .docker_login(true)
        .drop_caps(Capability::Chown)
        .env_file(".env")
        .env_file("/etc/more.env")
        .fakeroot(true)
        .fusemount(FuseMount::in_container("sshfs host:/", "/mnt"))
        .home(Home::new("/srv/home").to("/root"))
        .hostname("node")
        .ignore_fakeroot_command(true)
        .ignore_subuid(true)
        .ignore_userns(true)
        .intel_hpu(true)
        .ipc(true)
        .keep_privs(true)
        .memory(512 << 20)
        .memory_reservation(256 << 20)
        .memory_swap(Limit::Unlimited)
        .mount(Mount::bind("/a,b", "/c"))
        .mount(Mount::bind("/d", "/e").access(Access::ReadOnly))
        .net(true)
        .netns_path("/run/netns/one")
        .network(Network::BRIDGE)
        .network(Network::named("lab"))
        .network_args(NetworkArgs::new().port_map(http))
        .no_env("HOME")
        .no_env("LANG")
        .no_eval(true)
        .no_home(true)
        .no_https(true)
        .no_init(true)
        .no_mount(NoMount::Tmp)
        .no_mount(NoMount::Path("/data".into()))
        .no_nv(true)
        .no_privs(true)
        .no_rocm(true)
        .no_umask(true)
        .nv(true)
        .nvccli(true)
        .oom_kill_disable(true)
        .overlay(Overlay::new("layer.img").read_only())
        .overlay(Overlay::new("upper"))
        .passphrase(true)
        .pem_path("key.pem")
        .pids_limit(100)
        .rocm(true)
        .scratch(Scratch::at("/scratch"))
        .scratch(Scratch::at("/more"))
        .security(Security::Seccomp("/etc/seccomp.json".into()))
        .tmpdir("/var/tmp")
        .underlay(true)
        .unsquash(true)
        .userns(true)
        .uts(true)
        .workdir("/srv/work")
        .writable(true)
        .writable_tmpfs(true);
}

#[test]
#[expect(clippy::too_many_lines, reason = "Apptainer has that many flags")]
fn exec_with_every_flag() {
    let mut exec = Exec::new("a.sif", "ls", ["-l", "--all"]);
    set_all(&mut exec.action);
    exec.foreground
        .cdi_dirs("/etc/cdi")
        .cwd("/data")
        .device(Device::named("nvidia.com/gpu=0"))
        .device(Device::named("nvidia.com/gpu=1"))
        .no_pid(true)
        .pid(true)
        .pwd("/data")
        .sharens(true);
    let flags = [ActionOptions::FLAGS, ForegroundOptions::FLAGS];
    assert_snapshot!(rendered(&exec, &flags), @r#"
        exec
        --add-caps CAP_NET_RAW,CAP_SYS_PTRACE
        --allow-setuid
        --app tool
        --apply-cgroups /etc/limits.toml
        --authfile auth.json
        --bind /srv/a\:b
        --bind /srv/c:/c:ro
        --blkio-weight 500
        --blkio-weight-device /dev/sda:500
        --cleanenv
        --compat
        --contain
        --containall
        --containlibs /usr/lib/libcuda.so
        --containlibs "/opt/a,b.so"
        --cpu-shares 512
        --cpus 1.5
        --cpuset-cpus 0-3,8
        --cpuset-mems 0
        --disable-cache
        --dns 9.9.9.9,1.1.1.1
        --docker-host tcp://localhost:2375
        --docker-login
        --drop-caps CAP_CHOWN
        --env-file .env
        --env-file /etc/more.env
        --fakeroot
        --fusemount container:sshfs host:/ /mnt
        --home /srv/home:/root
        --hostname node
        --ignore-fakeroot-command
        --ignore-subuid
        --ignore-userns
        --intel-hpu
        --ipc
        --keep-privs
        --memory 536870912
        --memory-reservation 268435456
        --memory-swap -1
        --mount type=bind,"source=/a,b",destination=/c
        --mount type=bind,source=/d,destination=/e,ro
        --net
        --netns-path /run/netns/one
        --network bridge,lab
        --network-args portmap=8080:80/tcp
        --no-env HOME
        --no-env LANG
        --no-eval
        --no-home
        --no-https
        --no-init
        --no-mount tmp
        --no-mount /data
        --no-nv
        --no-privs
        --no-rocm
        --no-umask
        --nv
        --nvccli
        --oom-kill-disable
        --overlay layer.img:ro
        --overlay upper
        --passphrase
        --pem-path key.pem
        --pids-limit 100
        --rocm
        --scratch /scratch
        --scratch /more
        --security seccomp:/etc/seccomp.json
        --tmpdir /var/tmp
        --underlay
        --unsquash
        --userns
        --uts
        --workdir /srv/work
        --writable
        --writable-tmpfs
        --cdi-dirs /etc/cdi
        --cwd /data
        --device nvidia.com/gpu=0
        --device nvidia.com/gpu=1
        --no-pid
        --pid
        --pwd /data
        --sharens a.sif ls -l
        --all
    "#);
}

#[test]
fn exec_alone() {
    assert_eq!(
        Exec::new("instance://web", "true", [] as [&str; 0]).argv(),
        ["exec", "instance://web", "true"]
    );
}

#[test]
fn an_image_whose_name_looks_like_a_flag() {
    assert_eq!(
        Exec::new("--writable", "true", [] as [&str; 0]).argv(),
        ["exec", "./--writable", "true"]
    );
}

#[test]
fn what_these_bindings_do_not_know() {
    let mut exec = Exec::new("a.sif", "true", [] as [&str; 0]);
    exec.action.contain(true).extra_args(["--new", "value"]);
    assert_eq!(
        exec.argv(),
        ["exec", "--contain", "--new", "value", "a.sif", "true"]
    );
}

#[test]
fn run_with_its_own_flags() {
    let mut run = Run::new("a.sif", ["one", "--two"]);
    run.runscript_timeout(Duration::from_secs(30));
    assert_snapshot!(rendered(&run, &[Run::FLAGS]), @r"
        run
        --runscript-timeout 30s a.sif one
        --two
    ");
}
