use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};

use super::{Empty, spec};
use crate::container::{
    AmdGpus, BindMount, GpuDevice, GpuRequest, HomeDir, NvidiaGpus, OverlayLayer,
};
use crate::instance::spec::{Joined, Spec};
use crate::instance::{Payload, Port};
use crate::{Contain, Gpu};

fn port(name: &str) -> Port {
    serde_json::from_value(serde_json::json!({ "name": name })).unwrap()
}

#[test]
fn nothing_is_wrong_with_a_usual_spec() {
    let host = Empty::new();
    let data = host.directory("data");
    let layer = host.directory("layer");
    let file = host.write("env", "A=1\n");
    let full = spec()
        .name("web-1")
        .run(["--port", "{port:http}"])
        .bind(&data, "/data")
        .bind_read_only(&data, "/data/below")
        .overlay(&layer)
        .layer(OverlayLayer::new(&data).read_only())
        .scratch("/scratch")
        .workdir(host.directory("work"))
        .home(HomeDir::new(&data).to("/home/me"))
        .no_mount(NoMount::Tmp)
        .contain(Contain::Docker)
        .env("URL", "http://127.0.0.1:{port:http}/{}")
        .env_file(file)
        .hostname("web-1.lab")
        .network(Joined::to("none"))
        .dns([1, 1, 1, 1])
        .umask(0o27)
        .current_dir("/data")
        .add_capability(Capability::NetRaw)
        .port(port("http"))
        .stop_grace(Duration::ZERO);
    host.accepts(&full);
    host.accepts(&spec());
}

#[test]
fn images_are_references_or_files_that_are_there() {
    let host = Empty::new();
    host.finds(&Spec::new(""), "image", "empty");
    host.finds(&Spec::new("s3://bucket/x"), "image", "s3://");
    host.finds(&Spec::new("/not/there.sif"), "image", "No such file");
    let sif = host.write("x.sif", "");
    host.accepts(&Spec::new(sif.to_str().unwrap()));
}

#[test]
fn the_key_of_an_image_is_a_file() {
    let host = Empty::new();
    host.finds(&spec().private_key("/usr"), "private_key", "not a file");
    let key = host.write("key.pem", "");
    host.accepts(&spec().private_key(key));
}

#[test]
fn a_name_is_one_that_apptainer_takes() {
    Empty::new().finds(&spec().name("a/b"), "name", "letters");
}

#[test]
fn there_is_a_program_to_run() {
    let host = Empty::new();
    for argv in [vec![], vec!["", "x"]] {
        host.finds(&spec().command(argv), "payload.command", "no program");
    }
    host.accepts(&spec().run([] as [&str; 0]));
}

#[test]
fn nothing_has_a_nul_byte_in_it() {
    let host = Empty::new();
    let with = spec().payload(Payload::Start(vec!["a".into(), "b\0".into()]));
    host.finds(&with, "payload.start[1]", "NUL");
    host.finds(&spec().env("A", "x\0"), "env.A", "NUL");
    host.finds(&spec().bind("/a\0", "/b"), "binds[0].source", "NUL");
    host.finds(&spec().scratch("/a\0"), "scratch[0]", "NUL");
    host.finds(&spec().env_file("/a\0"), "env_files[0]", "NUL");
    host.finds(&spec().seccomp("/a\0"), "seccomp", "NUL");
    let argument = spec().network(Joined::to("lab").arg("a\0", "b"));
    host.finds(&argument, "networks[0].args.a\0", "NUL");
}

#[test]
fn paths_are_text_that_json_can_have() {
    let host = Empty::new();
    let path = OsString::from_vec(b"/a\xff".to_vec());
    host.finds(&spec().scratch(path), "spec", "UTF-8");
}

#[test]
fn what_is_bound_is_there() {
    let host = Empty::new();
    let wrong = spec().bind("/usr", "/a").bind(host.path("no"), "/b");
    host.finds(&wrong, "binds[1].source", "make it");
    host.finds(
        &spec().bind("/usr", "b"),
        "binds[0].destination",
        "absolute",
    );
}

#[test]
fn parts_of_images_are_named_as_they_can_be() {
    let host = Empty::new();
    let mount = BindMount::new(host.write("x.sif", ""), "/data");
    let relative = mount.clone().image_source("inside");
    host.finds(&spec().mount(relative), "binds[0]", "within the image");
    let zero = mount.clone().image_id(0);
    host.finds(&spec().mount(zero), "binds[0]", "numbered from 1");
    host.accepts(&spec().mount(mount.image_source("/").image_id(1)));
}

#[test]
fn a_place_is_taken_once() {
    let host = Empty::new();
    let twice = spec().bind("/usr", "/a/b").bind("/usr", "/a/../a/b/");
    host.finds(&twice, "binds[1].destination", "binds[0].destination");
    let scratch = spec().bind("/usr", "/a").scratch("/a");
    host.finds(&scratch, "scratch[0]", "binds[0].destination");
    let twice = spec().scratch("/a").scratch("/a");
    host.finds(&twice, "scratch[1]", "scratch[0]");
    let home = spec()
        .bind("/usr", "/me")
        .home(HomeDir::new("/usr").to("/me"));
    host.finds(&home, "home.destination", "binds[0].destination");
    let dns = spec().bind("/usr", "/etc/resolv.conf").dns([1, 1, 1, 1]);
    host.finds(&dns, "dns", "binds[0].destination");
}

#[test]
fn some_places_are_not_to_be_had() {
    let host = Empty::new();
    let over = |place: &str| spec().bind("/usr", place);
    host.finds(&over("/"), "binds[0].destination", "below");
    let startscript = over("/.singularity.d/startscript");
    host.finds(&startscript, "binds[0].destination", "supervision");
}

#[test]
fn overlays_are_there_and_can_be_written_to() {
    let host = Empty::new();
    let missing = spec().overlay(host.path("no"));
    host.finds(&missing, "overlays[0].path", "overlay create");
    let colon = spec().overlay(host.directory("a:b"));
    host.finds(&colon, "overlays[0].path", "colon");
    if !nix::unistd::geteuid().is_root() {
        host.finds(&spec().overlay("/usr"), "overlays[0].path", "read-only");
    }
    host.accepts(&spec().layer(OverlayLayer::new("/usr").read_only()));
}

#[test]
fn there_is_one_writable_layer() {
    let host = Empty::new();
    let (first, second) = (host.directory("1"), host.directory("2"));
    let two = spec().overlay(&first).overlay(&second);
    host.finds(&two, "overlays[1]", "overlays[0]");
    let memory = spec().overlay(&first).writable_tmpfs();
    host.finds(&memory, "writable_tmpfs", "overlays[0]");
    let temporary = spec().temporary_overlay().writable_tmpfs();
    host.finds(&temporary, "writable_tmpfs", "temporary_overlay");
    let read_only = OverlayLayer::new(&first).read_only();
    host.accepts(&spec().layer(read_only).temporary_overlay());
    host.accepts(&spec().contain(Contain::Docker).overlay(&first));
}

#[test]
fn only_a_sandbox_is_written_to_and_without_layers() {
    let host = Empty::new();
    host.finds(&spec().writable(), "writable", "store");
    let sandbox = Spec::new(host.directory("box").to_str().unwrap()).writable();
    host.accepts(&sandbox);
    host.finds(&sandbox.writable_tmpfs(), "writable", "layer");
}

#[test]
fn directories_of_the_host_are_directories() {
    let host = Empty::new();
    let file = host.write("file", "");
    let home = spec().home(HomeDir::new(&file).to("/me"));
    host.finds(&home, "home.source", "not a directory");
    let missing = spec().home(HomeDir::new(host.path("no")).to("/me"));
    host.finds(&missing, "home.source", "make it");
    let scratch = || spec().scratch("/s");
    host.finds(&scratch().workdir(&file), "workdir", "not a directory");
    let made = scratch().workdir(host.path("no/deep"));
    host.accepts(&made);
    host.finds(&made.contain(Contain::Files), "workdir", "make it");
}

#[test]
fn homes_have_places_that_apptainer_takes() {
    let host = Empty::new();
    let colon = spec().home(HomeDir::new("/usr").to("/a:b"));
    host.finds(&colon, "home", "colon");
    let relative = spec().home(HomeDir::new("/usr").to("me"));
    host.finds(&relative, "home.destination", "absolute");
    let hidden = spec()
        .home(HomeDir::new("/usr").to("/me"))
        .no_mount(NoMount::Home);
    host.finds(&hidden, "home", "no_mount");
}

#[test]
fn scratch_directories_have_places_that_apptainer_takes() {
    let host = Empty::new();
    host.finds(&spec().scratch("s"), "scratch[0]", "absolute");
    host.finds(&spec().scratch("/a,b"), "scratch[0]", "comma");
}

#[test]
fn a_workdir_is_for_something() {
    let host = Empty::new();
    host.finds(&spec().workdir(host.path("w")), "workdir", "scratch");
    let contained = spec().workdir(host.directory("w"));
    host.accepts(&contained.contain(Contain::Files));
}

#[test]
fn mounts_to_leave_out_have_absolute_paths() {
    let wrong = spec().no_mount(NoMount::Path("etc".into()));
    Empty::new().finds(&wrong, "no_mount[0]", "absolute");
}

#[test]
fn variables_have_names_that_a_shell_takes() {
    let host = Empty::new();
    host.finds(&spec().env("A-B", ""), "env.A-B", "letters");
    host.finds(&spec().env("HOME", "/x"), "env.HOME", "`home`");
    host.finds(&spec().forward_env("1A"), "forward_env.1A", "letters");
    host.finds(&spec().no_env("A=B"), "no_env.A=B", "no variable");
}

#[test]
fn files_with_variables_are_files() {
    let host = Empty::new();
    let missing = spec().env_file(host.path("no"));
    host.finds(&missing, "env_files[0]", "make it");
    host.finds(&spec().env_file("/usr"), "env_files[0]", "not a file");
}

#[test]
fn placeholders_are_of_ports_that_are_declared() {
    let host = Empty::new();
    let in_args = spec().port(port("http")).run(["{port:http}", "{port:x}"]);
    host.finds(&in_args, "payload.run[1]", "{port:x}");
    let in_env = spec().env("A", "{port:x}");
    host.finds(&in_env, "env.A", "declare it");
}

#[test]
fn ports_have_names_of_their_own() {
    let host = Empty::new();
    let twice = spec().port(port("a")).port(port("a"));
    host.finds(&twice, "ports[1].name", "rename");
    host.finds(&spec().port(port("")), "ports[0].name", "letters");
}

#[test]
fn a_directory_to_run_in_is_one_of_the_container() {
    Empty::new().finds(&spec().current_dir("src"), "current_dir", "absolute");
}

#[test]
fn a_umask_is_said_once_and_has_nine_bits() {
    let host = Empty::new();
    host.finds(&spec().umask(0o1000), "umask", "1000 is more");
    host.finds(&spec().umask(0o77).no_umask(), "no_umask", "umask");
}

#[test]
fn hosts_have_names_that_the_kernel_takes() {
    let host = Empty::new();
    for name in ["", "-a", "a.", "a..b", "a_b", &"a".repeat(65)] {
        host.finds(&spec().hostname(name), "hostname", "letters");
    }
    host.accepts(&spec().hostname("a".repeat(64)));
}

#[test]
fn networks_are_joined_as_they_can_be() {
    let host = Empty::new();
    let wrong = spec().network(Joined::to("a b"));
    host.finds(&wrong, "networks[0].name", "name");
    let zero = spec().network(Joined::to("bridge").tcp_port(0, 80));
    host.finds(&zero, "networks[0]", "65535");
    let twice = spec().network(Joined::to("lab")).network(Joined::to("lab"));
    host.finds(&twice, "networks[1].name", "already");
    let none = spec()
        .network(Joined::to("none"))
        .network(Joined::to("lab"));
    host.finds(&none, "networks[0].name", "others");
    let both = spec()
        .network(Joined::to("none"))
        .network_namespace("/proc/self/ns/net");
    host.finds(&both, "networks", "network_namespace");
    let missing = spec().network_namespace(host.path("no"));
    host.finds(&missing, "network_namespace", "make it");
}

#[test]
fn what_fakeroot_makes_void_is_refused() {
    let host = Empty::new();
    let fakeroot = || spec().fakeroot();
    host.finds(&fakeroot().uid(5), "uid", "fakeroot");
    host.finds(&fakeroot().gids([5]), "gids", "fakeroot");
    let dropped = fakeroot().drop_capability(Capability::Chown);
    host.finds(&dropped, "drop_capabilities", "fakeroot");
    host.accepts(&fakeroot());
}

#[test]
fn a_capability_is_not_added_and_dropped() {
    let both = spec()
        .add_capability(Capability::Chown)
        .drop_capability(Capability::Chown);
    Empty::new().finds(&both, "add_capabilities[0]", "CAP_CHOWN");
}

#[test]
fn a_seccomp_profile_is_a_file_of_json() {
    let host = Empty::new();
    host.finds(&spec().seccomp("/usr"), "seccomp", "not a file");
    let words = host.write("words", "no json");
    host.finds(&spec().seccomp(words), "seccomp", "profile");
    let profile = host.write("profile", "{}");
    host.accepts(&spec().seccomp(profile));
}

#[test]
fn security_modules_are_at_work() {
    let host = Empty::new();
    let (apparmor, selinux) = (spec().apparmor("p"), spec().selinux("l"));
    host.finds(&apparmor, "apparmor", "kernel");
    host.finds(&selinux, "selinux", "kernel");
    host.write("sys/module/apparmor/parameters/enabled", "Y\n");
    host.write("sys/fs/selinux/enforce", "1");
    host.accepts(&apparmor);
    host.accepts(&selinux);
    host.finds(&spec().apparmor(""), "apparmor", "empty");
}

#[test]
fn a_deadline_leaves_some_time() {
    let at_once = spec().start_deadline(Duration::ZERO);
    Empty::new().finds(&at_once, "start_deadline", "time");
}

/// A host with two GPUs of each vendor's.
fn with_gpus() -> Empty {
    let device = |uuid: &str| GpuDevice {
        uuid: Some(uuid.to_owned()),
        ..GpuDevice::default()
    };
    let devices = vec![device("GPU-aa"), device("GPU-bb")];
    let mut host = Empty::new();
    host.gpus.nvidia = NvidiaGpus {
        driver: Some("550.1".to_owned()),
        devices: devices.clone(),
        device_files: vec!["/dev/nvidia0".into()],
        container_cli: None,
    };
    host.gpus.amd = AmdGpus {
        has_driver: true,
        devices,
        device_files: vec!["/dev/kfd".into()],
    };
    host
}

#[test]
fn gpus_are_there() {
    let host = Empty::new();
    let nvidia = spec().gpu(Gpu::Nvidia);
    host.finds(&nvidia, "gpus[0].kind", "/proc/driver/nvidia/version");
    host.finds(&spec().gpu(Gpu::Rocm), "gpus[0].kind", "/sys/class/kfd");
    let host = with_gpus();
    host.accepts(&nvidia.gpu(Gpu::Rocm));
    let cli = spec().gpu(Gpu::NvidiaCli);
    host.finds(&cli, "gpus[0].kind", "nvidia-container-cli");
    let twice = spec().gpu(Gpu::Nvidia).gpu(Gpu::NvidiaCli);
    host.finds(&twice, "gpus[1].kind", "already");
}

#[test]
fn gpus_are_chosen_among_those_that_are_there() {
    let host = with_gpus();
    let of = |device: &str| spec().gpu_request(GpuRequest::devices(Gpu::Nvidia, [device]));
    for there in ["0", "1", "GPU-aa", "GPU-b", "MIG-1"] {
        host.accepts(&of(there));
    }
    let field = "gpus[0].devices[0]";
    host.finds(&of("2"), field, "2 GPUs");
    host.finds(&of("GPU-cc"), field, "UUID");
    host.finds(&of("first"), field, "number");
    host.finds(&of("GPU-aa,GPU-bb"), field, "comma");
    let set = of("0").env("CUDA_VISIBLE_DEVICES", "1");
    host.finds(&set, "gpus[0].devices", "CUDA_VISIBLE_DEVICES");
}

#[test]
fn everything_is_said_at_once() {
    let host = Empty::new();
    let wrong = Spec::new("")
        .name("a b")
        .command([] as [&str; 0])
        .bind("/not/there", "data")
        .overlay("/not/there")
        .writable_tmpfs()
        .scratch("s")
        .env("1", "{port:x}")
        .hostname("-")
        .gpu(Gpu::Rocm)
        .fakeroot()
        .uid(7)
        .start_deadline(Duration::ZERO);
    let found = host.findings(&wrong, None);
    let mut fields: Vec<_> = found.iter().map(|finding| &*finding.field).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "binds[0].destination",
            "binds[0].source",
            "env.1",
            "env.1",
            "gpus[0].kind",
            "hostname",
            "image",
            "name",
            "overlays[0].path",
            "payload.command",
            "scratch[0]",
            "start_deadline",
            "uid",
            "writable_tmpfs",
        ]
    );
    let error = crate::instance::SpecError { findings: found };
    let shown = error.to_string();
    assert!(shown.starts_with("use the instance's spec: 14 things are wrong\n- "));
    for finding in &error.findings {
        assert!(shown.contains(&format!("\n- {finding}")));
    }
}
