use apptainer_sys::Version;

use super::{Caller, Empty, Spec, spec};
use crate::Gpu;
use crate::instance::spec::{Joined, Namespace, Privileges};

const NEW: Version = Version::new(1, 5, 0);

fn fields(host: &Empty, spec: &Spec, is_root: bool, version: Version, suid: bool) -> Vec<String> {
    let caller = Caller {
        is_root,
        version,
        has_setuid: &|| suid,
    };
    let found = host.findings(spec, Some(&caller)).into_iter();
    found.map(|finding| finding.field).collect()
}

/// As an ordinary user, with an Apptainer that has a setuid program and one that has none.
fn as_user(spec: &Spec) -> [Vec<String>; 2] {
    let host = Empty::new();
    [true, false].map(|suid| fields(&host, spec, false, NEW, suid))
}

fn as_root(spec: &Spec) -> Vec<String> {
    fields(&Empty::new(), spec, true, NEW, false)
}

const FINE: [&str; 0] = [];

#[test]
fn only_root_keeps_privileges_and_allows_setuid() {
    for (spec, field) in [
        (spec().privileges(Privileges::Keep), "privileges"),
        (spec().allow_setuid(), "allow_setuid"),
    ] {
        assert_eq!(as_user(&spec), [[field], [field]]);
        assert_eq!(as_root(&spec), FINE);
    }
    assert_eq!(as_user(&spec().privileges(Privileges::Drop)), [FINE, FINE]);
}

#[test]
fn users_join_networks_where_the_administrator_can_let_them() {
    let bridge = spec().network(Joined::to("bridge"));
    let field = ["networks[0].name"];
    assert_eq!(as_user(&bridge), [&FINE[..], &field]);
    assert_eq!(as_user(&bridge.clone().fakeroot()), [&FINE[..], &field]);
    let rootless = bridge.clone().namespace(Namespace::User);
    assert_eq!(as_user(&rootless), [field, field]);
    assert_eq!(as_root(&bridge), FINE);
    assert_eq!(as_user(&spec().network(Joined::to("none"))), [FINE, FINE]);
}

#[test]
fn users_are_others_only_in_a_namespace_of_users() {
    let other = spec().uid(5).gids([6]);
    assert_eq!(as_user(&other), [&["uid", "gids"][..], &FINE]);
    assert_eq!(as_root(&other), FINE);
    assert_eq!(as_user(&other.namespace(Namespace::User)), [FINE, FINE]);
}

#[test]
fn root_needs_a_range_for_fakeroot() {
    let host = Empty::new();
    let fakeroot = spec().fakeroot();
    let found = |host: &Empty| fields(host, &fakeroot, true, NEW, false);
    host.write("etc/subuid", "somebody:100000:65536\n");
    assert_eq!(found(&host), ["fakeroot"]);
    host.write("etc/subuid", "root:100000:65536\n");
    assert_eq!(found(&host), FINE);
}

#[test]
fn what_is_newer_than_apptainer_is_refused() {
    let host = Empty::new();
    let found = |spec: &Spec, minor| fields(&host, spec, true, Version::new(1, minor, 0), false);
    let no_env = spec().no_env("A");
    assert_eq!(found(&no_env, 4), ["no_env"]);
    assert_eq!(found(&no_env, 5), FINE);
    let namespace = spec().network_namespace("/proc/self/ns/net");
    assert_eq!(found(&namespace, 3), ["network_namespace"]);
    assert_eq!(found(&namespace, 4), FINE);
}

#[test]
fn fakeroot_and_nvidias_program_need_a_rootless_apptainer() {
    let mut host = Empty::new();
    host.gpus.nvidia.driver = Some("1.0".into());
    host.gpus.nvidia.devices = vec![crate::container::GpuDevice::default()];
    host.gpus.nvidia.device_files = vec!["/dev/nvidia0".into()];
    host.gpus.nvidia.container_cli = Some("/usr/bin/nvidia-container-cli".into());
    let both = spec().gpu(Gpu::NvidiaCli).fakeroot();
    assert_eq!(fields(&host, &both, false, NEW, true), ["gpus[0].kind"]);
    assert_eq!(fields(&host, &both, false, NEW, false), FINE);
}
