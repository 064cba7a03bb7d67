//! Values behind flags, as Apptainer takes them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apptainer::sys::Install;
use apptainer::sys::command::{
    Bind, Capability, Exec, GlobalOptions, Home, Mount, Network, NoMount, Overlay, Subcommand,
};
use apptainer::sys::process::{Captured, Stdio};
use apptainer::sys::sif::SifFile;
use fixtures::{World, busybox_sif};

use crate::apptainer;

/// What a command prints.
fn output(exec: &Exec) -> Captured {
    let install = Install::discover().unwrap();
    let mut spawn = install.invocation(&GlobalOptions::silent(), exec).unwrap();
    spawn.stdout(Stdio::pipe()).stderr(Stdio::pipe());
    spawn.spawn().unwrap().output().unwrap()
}

fn text(captured: &Captured) -> &str {
    assert!(captured.exit.success(), "{captured:?}");
    std::str::from_utf8(&captured.stdout).unwrap().trim_end()
}

fn shell(script: &str) -> Exec {
    Exec::new(busybox_sif(), "sh", ["-c", script])
}

#[test]
fn capabilities_are_those_that_apptainer_knows() {
    let explained = apptainer(&["capability", "avail"]);
    let theirs: BTreeSet<Capability> = explained
        .lines()
        .filter(|line| line.starts_with("CAP_"))
        .map(|line| line.split(':').next().unwrap().parse().unwrap())
        .collect();
    // It is older than the last three.
    let newer = [
        Capability::Perfmon,
        Capability::Bpf,
        Capability::CheckpointRestore,
    ];
    for capability in Capability::ALL {
        let is_known = theirs.contains(capability) || newer.contains(capability);
        assert!(is_known, "{capability}");
    }
    assert!(theirs.len() >= Capability::ALL.len() - newer.len());
}

#[tokio::test]
async fn home_is_where_it_was_put() {
    let world = World::new().await;
    let mut exec = shell("echo $HOME; touch ~/written");
    exec.action
        .contain(true)
        .home(Home::new(world.folder()).to("/srv/home"));
    assert_eq!(text(&output(&exec)), "/srv/home");
    assert!(world.folder().join("written").exists());
    world.finish();
}

#[tokio::test]
async fn a_layer_can_be_read_only() {
    let world = World::new().await;
    let [lower, upper] = ["lower", "upper"].map(|name| world.folder().join(name));
    for (layer, name) in [(&lower, "below"), (&upper, "above")] {
        std::fs::create_dir_all(layer.join("upper")).unwrap();
        std::fs::write(layer.join("upper").join(name), name).unwrap();
    }
    let mut exec = shell("cat /above /below; echo new > /new");
    exec.action
        .overlay(Overlay::new(&lower).read_only())
        .overlay(Overlay::new(&upper));
    assert_eq!(text(&output(&exec)), "abovebelow");
    assert!(upper.join("upper/new").exists());
    world.finish();
}

#[tokio::test]
async fn a_part_of_an_image_is_mounted() {
    let world = World::new().await;
    let sif = SifFile::open(&busybox_sif()).unwrap();
    let root = sif.primary_partition().unwrap().id;
    let mut exec = shell("ls -d /data/bin/busybox");
    let mount = Mount::bind(busybox_sif(), "/data");
    exec.action.mount(mount.image_source("/").image_id(root));
    assert_eq!(text(&output(&exec)), "/data/bin/busybox");
    world.finish();
}

#[tokio::test]
async fn servers_and_networks_are_lists() {
    let world = World::new().await;
    let mut exec = shell("cat /etc/resolv.conf; grep -o '[a-z0-9]*:' /proc/net/dev");
    exec.action
        .dns(IpAddr::from([192, 0, 2, 1]))
        .dns(IpAddr::from([192, 0, 2, 2]))
        .net(true)
        .network(Network::NONE);
    assert_eq!(
        text(&output(&exec)),
        "nameserver 192.0.2.1\nnameserver 192.0.2.2\nlo:"
    );
    world.finish();
}

#[tokio::test]
async fn mounts_are_left_out_by_name() {
    let world = World::new().await;
    let mounts = "cut -d' ' -f5 /proc/self/mountinfo | grep -x -e /sys -e /etc/hosts; true";
    let both = output(&shell(mounts));
    let mut both: Vec<_> = text(&both).lines().collect();
    both.sort_unstable();
    assert_eq!(both, ["/etc/hosts", "/sys"]);
    let mut exec = shell(mounts);
    exec.action
        .no_mount(NoMount::Sys)
        .no_mount(NoMount::Path("/etc/hosts".into()));
    assert_eq!(text(&output(&exec)), "");
    world.finish();
}

#[tokio::test]
async fn limits_are_taken_or_refused_for_want_of_rights() {
    let world = World::new().await;
    let mut exec = shell("true");
    exec.action.memory(512 << 20).cpus(0.5).pids_limit(100);
    assert!(exec.argv().contains(&"536870912".into()));
    let captured = output(&exec);
    let stderr = String::from_utf8_lossy(&captured.stderr);
    let is_for_rights = stderr.contains("cgroup") && !stderr.contains("invalid");
    assert!(captured.exit.success() || is_for_rights, "{stderr}");
    world.finish();
}

#[tokio::test]
async fn odd_paths_are_bound_as_they_are() {
    let world = World::new().await;
    let mut binds = shell("cat /0/file /1/file /2/file");
    let mut mounts = shell("cat /0/file /1/file /2/file /3/file");
    let names = ["a:b", "c,d \"e\"", "f\\g", "h\\"];
    for (number, name) in names.iter().enumerate() {
        let folder = world.folder().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), number.to_string()).unwrap();
        let inside = format!("/{number}");
        mounts.action.mount(Mount::bind(&folder, &inside));
        // The last takes `--mount`, and is told so.
        let bind = Bind::new(&folder).to(inside);
        if number < 3 {
            binds.action.bind(bind);
        } else {
            let mut refused = shell("true");
            refused.action.bind(bind);
            let found = Install::discover().unwrap().version();
            let error = refused.check(found).unwrap_err().to_string();
            assert!(error.contains("`--mount`"), "{error}");
        }
    }
    assert_eq!(text(&output(&binds)), "012");
    assert_eq!(text(&output(&mounts)), "0123");
    world.finish();
}
