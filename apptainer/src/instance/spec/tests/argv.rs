//! What Apptainer is told, and what it is not.

use std::ffi::OsString;

use apptainer_sys::command::instance::Start;
use apptainer_sys::command::{Capability, NoMount, Subcommand};

use super::{Empty, Spec, spec};
use crate::container::{BindMount, GpuRequest, HomeDir, OverlayLayer};
use crate::instance::spec::{Joined, Namespace, Privileges};
use crate::{Contain, Gpu};

/// The words between `start` and the image.
fn flags(spec: &Spec) -> Vec<String> {
    let mut start = Start::new("IMAGE", "NAME", [] as [&str; 0]);
    start.action = spec.settings().checked().unwrap();
    let argv = start.argv().into_iter();
    let words: Vec<_> = argv.map(|word| word.into_string().unwrap()).collect();
    let [.., image, name] = words.as_slice() else {
        panic!("{words:?}");
    };
    assert_eq!([image.as_str(), name], ["IMAGE", "NAME"]);
    words[2..words.len() - 2].to_vec()
}

fn env(spec: &Spec) -> Vec<(OsString, OsString)> {
    spec.settings().env.to_vec()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(OsString, OsString)> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn nothing_is_said_of_what_is_not_set() {
    assert_eq!(flags(&spec()), [""; 0]);
    assert_eq!(env(&spec()), []);
    assert_eq!(*spec().settings().host_env, []);
}

#[test]
fn files_are_named_by_absolute_paths() {
    let host = Empty::new();
    let here = std::env::current_dir().unwrap();
    let here = here.to_str().unwrap();
    let layer = host.directory("layer");
    let layer = layer.to_str().unwrap();
    let told = spec()
        .mount(BindMount::new(".", "/data").read_only().image_source("/"))
        .layer(OverlayLayer::new(layer).read_only())
        .writable_tmpfs()
        .scratch("/s")
        .workdir("work")
        .home(HomeDir::new("home").to("/me"))
        .env_file("env")
        .seccomp("profile")
        .private_key("key")
        .no_mount(NoMount::Tmp);
    assert_eq!(
        flags(&told),
        [
            "--env-file",
            &format!("{here}/env"),
            "--home",
            &format!("{here}/home:/me"),
            "--mount",
            &format!("type=bind,source={here},destination=/data,image-src=/,ro"),
            "--no-mount",
            "tmp",
            "--overlay",
            &format!("{layer}:ro"),
            "--pem-path",
            &format!("{here}/key"),
            "--scratch",
            "/s",
            "--security",
            &format!("seccomp:{here}/profile"),
            "--workdir",
            &format!("{here}/work"),
            "--writable-tmpfs",
        ]
    );
}

#[test]
fn every_switch_and_value_has_its_flag() {
    let told = spec()
        .add_capability(Capability::NetRaw)
        .drop_capability(Capability::Chown)
        .drop_capability(Capability::Kill)
        .allow_setuid()
        .clean_env()
        .no_env("A")
        .no_eval()
        .no_umask()
        .no_init()
        .fakeroot()
        .privileges(Privileges::Keep)
        .hostname("h")
        .namespace(Namespace::User)
        .namespace(Namespace::Ipc)
        .namespace(Namespace::Uts)
        .network(Joined::to("lab").tcp_port(1, 2).arg("IP", "10.0.0.1"))
        .network_namespace("/n")
        .dns([1, 1, 1, 1])
        .apparmor("p")
        .selinux("l")
        .uid(1)
        .gids([2, 3])
        .writable();
    let told = flags(&told).join(" ");
    assert_eq!(
        told,
        "--add-caps CAP_NET_RAW --allow-setuid --cleanenv --dns 1.1.1.1 --drop-caps \
         CAP_CHOWN,CAP_KILL --fakeroot --hostname h --ipc --keep-privs --net --netns-path /n \
         --network lab --network-args lab:portmap=1:2/tcp;IP=10.0.0.1 --no-env A --no-eval \
         --no-init --no-umask --security apparmor:p --security selinux:l --security uid:1 \
         --security gid:2:3 --userns --uts --writable"
    );
    let dropped = spec().privileges(Privileges::Drop);
    assert_eq!(flags(&dropped), ["--no-privs"]);
}

#[test]
fn containment_makes_way_for_a_writable_layer() {
    let host = Empty::new();
    let layer = host.directory("layer");
    let docker = || spec().contain(Contain::Docker);
    assert_eq!(flags(&docker()), ["--compat"]);
    let parts = ["--containall", "--no-eval", "--no-init", "--no-umask"];
    let with = flags(&docker().overlay(&layer));
    assert_eq!([&with[..3], &with[3..4]], [&parts[..3], &parts[3..]]);
    assert_eq!(with[4], "--overlay");
    let read_only = flags(&docker().layer(OverlayLayer::new(&layer).read_only()));
    assert_eq!(read_only[0], "--compat");
    assert_eq!(flags(&docker().writable())[..4], parts);
    assert_eq!(flags(&spec().contain(Contain::Files)), ["--contain"]);
    assert_eq!(flags(&spec().contain(Contain::All)), ["--containall"]);
}

#[test]
fn gpus_are_chosen_by_the_vendors_variables() {
    let of = |kind| spec().gpu_request(GpuRequest::devices(kind, ["1", "GPU-a"]));
    let nvidia = of(Gpu::Nvidia).env("A", "1");
    assert_eq!(flags(&nvidia), ["--nv"]);
    let chosen = [
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
        ("CUDA_VISIBLE_DEVICES", "1,GPU-a"),
        ("A", "1"),
    ];
    assert_eq!(env(&nvidia), pairs(chosen));
    assert_eq!(flags(&of(Gpu::Rocm)), ["--rocm"]);
    let chosen = [("ROCR_VISIBLE_DEVICES", "1,GPU-a")];
    assert_eq!(env(&of(Gpu::Rocm)), pairs(chosen));
    assert_eq!(flags(&of(Gpu::NvidiaCli)), ["--nvccli"]);
    assert_eq!(env(&of(Gpu::NvidiaCli)), []);
    let chosen = pairs([("NVIDIA_VISIBLE_DEVICES", "1,GPU-a")]);
    assert_eq!(*of(Gpu::NvidiaCli).settings().host_env, chosen);
    assert_eq!(env(&spec().gpu(Gpu::Nvidia)), []);
}

#[test]
fn variables_are_forwarded_if_they_are_set_and_not_said() {
    let path = std::env::var_os("PATH").unwrap();
    let forwarded = spec()
        .forward_env("PATH")
        .forward_env("NOT_SET_IN_ANY_TEST")
        .env("PATH", "/said");
    let expected = [("PATH".into(), path), ("PATH".into(), "/said".into())];
    assert_eq!(env(&forwarded), expected);
}

#[test]
fn ports_are_filled_in_where_they_are_asked_for() {
    let asking = spec()
        .run(["--port={port:a}", "{port:b}"])
        .env("A", "{port:a}{port:b}");
    let filled = asking.substituted(&[("a".to_owned(), 80)]);
    let expected = spec().run(["--port=80", "{port:b}"]).env("A", "80{port:b}");
    assert_eq!(filled, expected);
}
