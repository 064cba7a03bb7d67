use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::Spec;
use crate::container::{BindMount, GpuRequest, HomeDir, OverlayLayer};
use crate::instance::spec::hidden::Variables;
use crate::instance::spec::words::Umask;
use crate::instance::spec::{Joined, Namespace, Payload, Privileges};
use crate::{Contain, Gpu};

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Nothing),
        vec(text(), 0..3).prop_map(Payload::Start),
        vec(text(), 0..3).prop_map(Payload::Run),
        vec(text(), 0..3).prop_map(Payload::Command),
    ]
}

fn binds() -> impl Strategy<Value = BindMount> {
    let image = (option::of(text()), option::of(any::<u32>()));
    (text(), text(), any::<bool>(), image).prop_map(|(source, place, is_read_only, image)| {
        let mut bind = BindMount::new(source, place);
        if is_read_only {
            bind = bind.read_only();
        }
        if let Some(path) = image.0 {
            bind = bind.image_source(path);
        }
        match image.1 {
            Some(id) => bind.image_id(id),
            None => bind,
        }
    })
}

fn overlays() -> impl Strategy<Value = OverlayLayer> {
    (text(), any::<bool>()).prop_map(|(path, is_read_only)| {
        let layer = OverlayLayer::new(path);
        if is_read_only {
            layer.read_only()
        } else {
            layer
        }
    })
}

fn networks() -> impl Strategy<Value = Joined> {
    (text(), vec(any::<(u16, u16)>(), 0..3), text()).prop_map(|(name, ports, arg)| {
        let joined = Joined::to(name).arg(arg.clone(), arg);
        ports.into_iter().fold(joined, |joined, (host, container)| {
            joined.tcp_port(host, container).udp_port(container, host)
        })
    })
}

fn requests() -> impl Strategy<Value = GpuRequest> {
    let kinds = select(vec![Gpu::Nvidia, Gpu::NvidiaCli, Gpu::Rocm]);
    (kinds, vec(text(), 0..3)).prop_map(|(kind, devices)| GpuRequest::devices(kind, devices))
}

fn no_mounts() -> impl Strategy<Value = NoMount> {
    let named = select(vec![
        NoMount::BindPaths,
        NoMount::Cwd,
        NoMount::Dev,
        NoMount::Devpts,
        NoMount::Home,
        NoMount::Hostfs,
        NoMount::Proc,
        NoMount::Sys,
        NoMount::Tmp,
    ]);
    prop_oneof![
        named,
        "/[a-z]{0,5}".prop_map(|path| NoMount::Path(path.into()))
    ]
}

fn durations() -> impl Strategy<Value = Duration> {
    (0..100_000_000_u64).prop_map(Duration::from_millis)
}

fn signals() -> impl Strategy<Value = Signal> {
    (1..=64).prop_filter_map("the C library keeps some", Signal::from_number)
}

fn paths() -> impl Strategy<Value = Vec<PathBuf>> {
    vec(text().prop_map(PathBuf::from), 0..3)
}

/// Its image, payload and files.
fn files() -> impl Strategy<Value = Spec> {
    let mounts = (
        vec(binds(), 0..3),
        vec(overlays(), 0..3),
        vec(no_mounts(), 0..3),
    );
    let places = (paths(), option::of(text()), option::of(text()));
    let names = (text(), payloads(), option::of(text()));
    (names, mounts, places, any::<[bool; 3]>()).prop_map(|(names, mounts, places, switches)| {
        let mut spec = Spec::new(names.0).payload(names.1);
        spec.name = names.2;
        (spec.binds, spec.overlays, spec.no_mount) = mounts;
        spec.scratch = places.0;
        spec.workdir = places.1.map(Into::into);
        spec.home = places.2.map(|path| HomeDir::new(path).to("/home"));
        [spec.temporary_overlay, spec.writable_tmpfs, spec.writable] = switches;
        spec
    })
}

/// What programs find, on top of that.
fn circumstances() -> impl Strategy<Value = Spec> {
    let contain = select(vec![Contain::Files, Contain::All, Contain::Docker]);
    let variables = (btree_map(text(), text(), 0..3), paths());
    let names = (btree_set(text(), 0..3), btree_set(text(), 0..3));
    let places = (option::of(text()), option::of(0..=0o777_u32));
    let all = (
        files(),
        contain,
        variables,
        names,
        places,
        any::<[bool; 4]>(),
    );
    all.prop_map(|(mut spec, contain, variables, names, places, switches)| {
        spec.contain = contain;
        (spec.env, spec.env_files) = (Variables(variables.0), variables.1);
        (spec.forward_env, spec.no_env) = names;
        spec.current_dir = places.0.map(Into::into);
        spec.umask = places.1.map(Umask);
        [spec.clean_env, spec.no_eval, spec.no_umask, spec.no_init] = switches;
        spec
    })
}

/// What it has to itself, on top of that.
fn machines() -> impl Strategy<Value = Spec> {
    let namespaces = subsequence(vec![Namespace::User, Namespace::Ipc, Namespace::Uts], 0..=3);
    let network = (
        option::of(text()),
        vec(networks(), 0..3),
        option::of(text()),
    );
    let dns = vec(any::<IpAddr>(), 0..3);
    let all = (
        circumstances(),
        namespaces,
        network,
        dns,
        vec(requests(), 0..3),
    );
    all.prop_map(|(mut spec, namespaces, network, dns, gpus)| {
        spec.namespaces = namespaces.into_iter().collect();
        (spec.hostname, spec.networks) = (network.0, network.1);
        spec.network_namespace = network.2.map(Into::into);
        (spec.dns, spec.gpus) = (dns, gpus);
        spec
    })
}

/// All that can be said.
fn specs() -> impl Strategy<Value = Spec> {
    let capabilities = || vec(select(Capability::ALL), 0..3);
    let privileges = (
        select(vec![
            Privileges::Configured,
            Privileges::Keep,
            Privileges::Drop,
        ]),
        capabilities(),
        capabilities(),
        any::<[bool; 2]>(),
    );
    let security = [(); 3].map(|()| option::of(text()));
    let user = (option::of(any::<u32>()), vec(any::<u32>(), 0..3));
    let durations = || option::of(durations());
    let life = (durations(), durations(), option::of(signals()));
    let all = (machines(), privileges, security, user, life);
    all.prop_map(|(mut spec, privileges, security, user, life)| {
        spec.privileges = privileges.0;
        (spec.add_capabilities, spec.drop_capabilities) = (privileges.1, privileges.2);
        [spec.fakeroot, spec.allow_setuid] = privileges.3;
        let [seccomp, apparmor, selinux] = security;
        (spec.seccomp, spec.apparmor, spec.selinux) = (seccomp.map(Into::into), apparmor, selinux);
        (spec.uid, spec.gids) = user;
        (spec.start_deadline, spec.stop_grace, spec.stop_signal) = life;
        spec
    })
}

proptest! {
    #[test]
    fn a_spec_is_the_same_when_it_comes_back_from_json(spec in specs()) {
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
    }

    /// Whatever is in it, what is wrong has a field and words.
    #[test]
    fn any_spec_can_be_judged(spec in specs()) {
        if let Err(error) = spec.validate() {
            prop_assert!(!error.findings.is_empty());
            for finding in error.findings {
                prop_assert!(!finding.field.is_empty() && !finding.problem.is_empty());
            }
        }
    }
}
