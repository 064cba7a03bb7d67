use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::Spec;
use crate::instance::spec::{
    BindMount, GpuRequest, HomeDir, Joined, Namespace, OverlayLayer, Payload, Privileges,
};
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
            joined
                .tcp_port(host, container)
                .udp_port(container, host)
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

type Change = Box<dyn Fn(Spec) -> Spec>;

/// One thing that can be said of an instance.
fn changes() -> impl Strategy<Value = String> {
    text()
}

fn files() -> impl Strategy<Value = Spec> {
    let paths = (vec(text(), 0..3), option::of(text()), option::of(text()));
    let mounts = (vec(binds(), 0..3), vec(overlays(), 0..3), vec(no_mounts(), 0..3));
    let switches = any::<[bool; 3]>();
    (text(), payloads(), option::of(text()), mounts, paths, switches).prop_map(
        |(image, payload, name, mounts, paths, switches)| {
            let mut spec = Spec::new(image).payload(payload);
            spec.name = name;
            (spec.binds, spec.overlays, spec.no_mount) = mounts;
            spec.scratch = paths.0.into_iter().map(Into::into).collect();
            spec.workdir = paths.1.map(Into::into);
            spec.home = paths.2.map(|path| HomeDir::new(path).to("/home"));
            [spec.temporary_overlay, spec.writable_tmpfs, spec.writable] = switches;
            spec
        },
    )
}
