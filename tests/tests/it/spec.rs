//! What a spec says, as a container has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use apptainer::instance::{Joined, Namespace, Privileges, Spec};
use apptainer::sys::command::{Capability, NoMount};
use apptainer::{BindMount, Contain, Gpu, Gpus, HomeDir, Instance, OverlayLayer, Rootfs};
use fixtures::World;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Of the busybox image, and one that root may start too.
fn busybox() -> Spec {
    let sif = fixtures::busybox_sif();
    let spec = Spec::new(sif.to_str().unwrap());
    if is_root() {
        spec.privileges(Privileges::Drop)
    } else {
        spec
    }
}

/// An instance of a spec with which nothing is wrong.
async fn start(world: &World, spec: &Spec) -> Instance {
    spec.validate().unwrap();
    let image = world.busybox().await;
    spec.container(&image).start().await.unwrap()
}

/// What a shell script writes in an instance.
async fn said(instance: &Instance, script: &str) -> String {
    let mut command = instance.command("sh");
    let output = command.args(["-c", script]).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What a shell script writes in an instance of this spec.
async fn once(world: &World, spec: &Spec, script: &str) -> String {
    let instance = start(world, spec).await;
    let said = said(&instance, script).await;
    instance.stop().await.unwrap();
    said
}

fn directory(world: &World, name: &str) -> PathBuf {
    let path = world.folder().join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn file(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn it_comes_from_json_and_is_a_container() {
    let world = World::new().await;
    let data = directory(&world, "data");
    file(&world, "data/note", "hello");
    let mut json = serde_json::to_value(busybox()).unwrap();
    json["binds"] = serde_json::json!([{ "source": data, "destination": "/data" }]);
    json["env"] = serde_json::json!({ "GREETED": "a,b \"c\" $d" });
    let spec: Spec = serde_json::from_value(json).unwrap();
    let said = once(&world, &spec, "cat /data/note; echo \" $GREETED\"").await;
    assert_eq!(said, "hello a,b \"c\" $d");
    world.finish();
}

#[tokio::test]
async fn binds_are_written_to_or_not() {
    let world = World::new().await;
    let (open, closed) = (directory(&world, "open"), directory(&world, "closed"));
    let spec = busybox()
        .bind(&open, "/open")
        .bind_read_only(&closed, "/closed");
    let script = "echo 1 > /open/x; echo 2 > /closed/x 2>/dev/null || echo no";
    assert_eq!(once(&world, &spec, script).await, "no");
    assert_eq!(fs::read_to_string(open.join("x")).unwrap(), "1\n");
    assert!(!closed.join("x").exists());
    world.finish();
}

#[tokio::test]
async fn a_part_of_an_image_is_bound() {
    let world = World::new().await;
    if world.client().rootfs().await == Rootfs::Sandbox {
        eprintln!("not tested: no image can be mounted here");
        return;
    }
    let (tree, image) = (world.folder().join("tree"), world.folder().join("image"));
    fs::create_dir_all(tree.join("part")).unwrap();
    fs::write(tree.join("part/note"), "hello").unwrap();
    let made = Command::new("mksquashfs").arg(&tree).arg(&image).output();
    assert!(made.unwrap().status.success());
    let part = BindMount::new(&image, "/inside").image_source("/part");
    let spec = busybox().mount(part.read_only());
    assert_eq!(once(&world, &spec, "cat /inside/note").await, "hello");
    world.finish();
}

#[tokio::test]
async fn what_is_written_stays_in_an_overlay_and_can_be_read_again() {
    let world = World::new().await;
    let layer = directory(&world, "layer");
    // As Docker, and yet with a layer of its own in place of the one in memory.
    let first = busybox().overlay(&layer).contain(Contain::Docker);
    once(&world, &first, "echo kept > /kept").await;
    let second = busybox().layer(OverlayLayer::new(&layer).read_only());
    let said = once(
        &world,
        &second,
        "cat /kept; touch /x 2>/dev/null || echo no",
    )
    .await;
    assert_eq!(said, "kept\nno");
    world.finish();
}

#[tokio::test]
async fn a_layer_in_memory_is_lost() {
    let world = World::new().await;
    let spec = busybox().writable_tmpfs();
    for _ in 0..2 {
        let said = once(&world, &spec, "test -e /new || echo fresh; touch /new").await;
        assert_eq!(said, "fresh");
    }
    world.finish();
}

#[tokio::test]
async fn scratch_directories_are_empty_and_kept_in_the_workdir() {
    let world = World::new().await;
    let workdir = world.folder().join("work");
    let spec = busybox().scratch("/scratch").workdir(&workdir);
    let said = once(&world, &spec, "ls /scratch; touch /scratch/x").await;
    assert_eq!(said, "");
    assert!(workdir.join("scratch/scratch/x").exists());
    world.finish();
}

#[tokio::test]
async fn the_home_directory_is_the_one_that_is_named() {
    let world = World::new().await;
    let home = directory(&world, "home");
    let spec = busybox().home(HomeDir::new(&home).to("/somebody"));
    assert_eq!(
        once(&world, &spec, "echo $HOME; touch ~/x").await,
        "/somebody"
    );
    assert!(home.join("x").exists());
    world.finish();
}

#[tokio::test]
async fn a_mount_of_the_configuration_is_left_out() {
    let world = World::new().await;
    let note = tempfile::tempdir_in("/tmp").unwrap();
    let path = note.path().to_str().unwrap();
    let script = format!("test -e {path} && echo there || echo no");
    // The working directory is mounted by itself.
    std::env::set_current_dir("/").unwrap();
    assert_eq!(once(&world, &busybox(), &script).await, "there");
    let without = busybox().no_mount(NoMount::Tmp);
    assert_eq!(once(&world, &without, &script).await, "no");
    world.finish();
}

#[tokio::test]
async fn files_with_variables_are_read_and_go_before_variables() {
    let world = World::new().await;
    let variables = file(&world, "variables", "A=file\nB='two words'\n");
    let spec = busybox().env_file(variables).env("A", "a").env("C", "c");
    let said = once(&world, &spec, "echo $A, $B, $C").await;
    assert_eq!(said, "file, two words, c");
    world.finish();
}

#[tokio::test]
async fn a_clean_environment_has_only_what_is_forwarded() {
    let world = World::new().await;
    let name = "CARGO_MANIFEST_DIR";
    let value = std::env::var(name).unwrap();
    let script = format!("echo \"[${name}]\"");
    let clean = busybox().clean_env();
    assert_eq!(once(&world, &clean, &script).await, "[]");
    let forwarded = clean.forward_env(name).forward_env("NOT_SET_ANYWHERE");
    assert_eq!(
        once(&world, &forwarded, &script).await,
        format!("[{value}]")
    );
    world.finish();
}

#[tokio::test]
async fn commands_run_where_it_says() {
    let world = World::new().await;
    let spec = busybox().current_dir("/usr");
    assert_eq!(once(&world, &spec, "pwd").await, "/usr");
    world.finish();
}

#[tokio::test]
async fn it_has_namespaces_and_a_name_of_its_own() {
    let world = World::new().await;
    let spec = busybox().namespace(Namespace::Ipc).hostname("box.lab");
    let script = "hostname; readlink /proc/self/ns/ipc";
    let said = once(&world, &spec, script).await;
    let (name, ipc) = said.split_once('\n').unwrap();
    assert_eq!(name, "box.lab");
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_ne!(Path::new(ipc), own);
    world.finish();
}

#[tokio::test]
async fn it_asks_the_dns_servers_that_are_named() {
    let world = World::new().await;
    let spec = busybox().dns([192, 0, 2, 53]);
    let said = once(&world, &spec, "cat /etc/resolv.conf").await;
    assert_eq!(said, "nameserver 192.0.2.53");
    world.finish();
}

#[tokio::test]
async fn a_network_without_a_way_out_has_no_routes() {
    let world = World::new().await;
    let spec = busybox().network(Joined::to("none"));
    let said = once(
        &world,
        &spec,
        "readlink /proc/self/ns/net; cat /proc/net/route",
    )
    .await;
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let mut lines = said.lines();
    assert_ne!(lines.next().map(Path::new), Some(own.as_path()));
    // A line of headings.
    assert_eq!(lines.count(), 1, "{said}");
    world.finish();
}

#[tokio::test]
async fn fakeroot_makes_one_root() {
    if is_root() {
        eprintln!("not tested: root has no range of users to be");
        return;
    }
    let world = World::new().await;
    let spec = busybox().fakeroot();
    assert_eq!(once(&world, &spec, "id -u").await, "0");
    world.finish();
}

#[tokio::test]
async fn capabilities_are_added_and_taken_away() {
    let world = World::new().await;
    let script = "grep -E 'CapEff|CapBnd' /proc/self/status";
    let added = busybox().add_capability(Capability::NetRaw);
    let said = once(&world, &added, script).await;
    assert!(said.contains("CapEff:\t0000000000002000"), "{said}");
    let dropped = busybox().drop_capability(Capability::NetRaw);
    let said = once(&world, &dropped, script).await;
    let bounding = said.lines().find_map(|line| line.strip_prefix("CapBnd:\t"));
    let bounding = u64::from_str_radix(bounding.unwrap(), 16).unwrap();
    assert_eq!(bounding & 0x2000, 0, "{said}");
    world.finish();
}

#[tokio::test]
async fn a_seccomp_profile_takes_calls_away() {
    let world = World::new().await;
    let profile = file(
        &world,
        "profile",
        r#"{
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }]
        }"#,
    );
    let spec = busybox().seccomp(profile).scratch("/scratch");
    let image = world.busybox().await;
    spec.validate().unwrap();
    let mut command = spec.container(&image).command("sh");
    let script = "grep Seccomp: /proc/self/status; mkdir /scratch/x 2>/dev/null || echo no";
    let output = command.args(["-c", script]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Seccomp:\t2\nno\n");
    world.finish();
}

#[tokio::test]
async fn its_umask_is_not_the_callers() {
    let world = World::new().await;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o77));
    assert_eq!(once(&world, &busybox(), "umask").await, "0077");
    assert_eq!(once(&world, &busybox().no_umask(), "umask").await, "0022");
    world.finish();
}

#[tokio::test]
async fn it_runs_as_another_user_and_group() {
    let world = World::new().await;
    let spec = busybox().uid(4711).gids([4712]);
    let image = world.busybox().await;
    let container = spec.container(&image).current_dir("/");
    let mut command = container.command("sh");
    let output = command.args(["-c", "id -u; id -g"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4711\n4712\n");
    world.finish();
}

#[tokio::test]
async fn a_machine_without_gpus_is_not_taken_for_one_with() {
    let world = World::new().await;
    let spec = busybox().gpu(Gpu::Nvidia);
    let gpus = Gpus::probe();
    if let Some(missing) = gpus.nvidia.missing() {
        let error = spec.validate().unwrap_err();
        assert_eq!(error.findings.len(), 1, "{error}");
        assert!(error.to_string().contains(&missing.to_string()), "{error}");
    } else {
        let said = once(&world, &spec, "ls /dev | grep nvidia").await;
        assert!(!said.is_empty());
    }
    world.finish();
}

#[tokio::test]
async fn what_depends_on_who_calls_is_found_for_them() {
    let world = World::new().await;
    let client = world.client();
    busybox().validate_for(client).await.unwrap();
    let mut wrong = busybox().hostname("-").no_env("A");
    let mut expected = vec!["hostname"];
    if client.version() < apptainer::sys::Version::new(1, 5, 0) {
        expected.push("no_env");
    }
    if !is_root() {
        wrong = wrong.privileges(Privileges::Keep).allow_setuid();
        expected.extend(["privileges", "allow_setuid"]);
    }
    wrong.validate().unwrap_err();
    let found = wrong.validate_for(client).await.unwrap_err().findings;
    let fields: Vec<_> = found.iter().map(|finding| &*finding.field).collect();
    assert_eq!(fields, expected);
    world.finish();
}

/// Whether users join networks depends on how Apptainer was built, and on its configuration.
#[tokio::test]
async fn a_network_that_is_refused_apptainer_refuses() {
    if is_root() {
        eprintln!("not tested: root joins networks");
        return;
    }
    let world = World::new().await;
    let image = world.busybox().await;
    let spec = busybox()
        .network(Joined::to("bridge"))
        .namespace(Namespace::User);
    let found = spec
        .validate_for(world.client())
        .await
        .unwrap_err()
        .findings;
    assert_eq!(found[0].field, "networks[0].name");
    assert!(spec.container(&image).start().await.is_err());
    // It goes on without the network, and says so where nobody reads it.
    let spec = spec.fakeroot();
    spec.validate_for(world.client()).await.unwrap_err();
    let instance = spec.container(&image).start().await.unwrap();
    let routes = said(&instance, "cat /proc/net/route").await;
    assert_eq!(routes.lines().count(), 1, "{routes}");
    instance.stop().await.unwrap();
    world.finish();
}

/// Apptainer stops at the first of what validation finds, or goes on without a word.
#[tokio::test]
async fn what_is_refused_is_what_apptainer_refuses_or_ignores() {
    let world = World::new().await;
    let image = world.busybox().await;
    let layer = directory(&world, "layer");
    let refused = [
        busybox().overlay(&layer).writable_tmpfs(),
        busybox().scratch("relative"),
        busybox().scratch("/twice").scratch("/twice"),
        busybox().hostname("-"),
        busybox().env_file("/usr"),
        busybox().seccomp(file(&world, "words", "no json")),
        busybox()
            .network(Joined::to("none"))
            .network(Joined::to("lab")),
        busybox()
            .contain(Contain::Files)
            .workdir(world.folder().join("no")),
    ];
    for spec in refused {
        let error = spec.validate().unwrap_err();
        assert_eq!(error.findings.len(), 1, "{error}");
        let started = spec.container(&image).start().await;
        assert!(started.is_err(), "Apptainer takes it: {error}");
    }
    let (one, other) = (directory(&world, "one"), directory(&world, "other"));
    let twice = busybox().bind(&one, "/a").bind(&other, "/a");
    let hidden = busybox()
        .home(HomeDir::new(&one).to("/me"))
        .no_mount(NoMount::Home);
    for (spec, script) in [
        (twice, "touch /a/x; grep -c ' /a ' /proc/mounts"),
        (hidden, "test -e /me || echo 1"),
    ] {
        spec.validate().unwrap_err();
        let instance = spec.container(&image).start().await.unwrap();
        assert_eq!(said(&instance, script).await, "1");
        instance.stop().await.unwrap();
    }
    world.finish();
}
