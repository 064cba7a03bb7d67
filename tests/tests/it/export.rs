//! Images on their way out of the store.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use apptainer::Image;
use apptainer::image::{ExportError, ExportMode, Exported};
use fixtures::{World, busybox_sandbox};

mod oci;
mod push;

/// What a program that must succeed wrote to standard output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A SIF file with files of many kinds.
fn varied_sif(world: &World) -> PathBuf {
    let root = world.folder().join("varied");
    busybox_sandbox(&root);
    fs::write(root.join("etc/one"), "several names").unwrap();
    fs::hard_link(root.join("etc/one"), root.join("var/two")).unwrap();
    symlink("./../nowhere//x", root.join("etc/dangling")).unwrap();
    fs::write(root.join("etc/secret"), "not for all").unwrap();
    fs::set_permissions(root.join("etc/secret"), Permissions::from_mode(0o400)).unwrap();
    fs::copy(root.join("bin/busybox"), root.join("bin/su-like")).unwrap();
    fs::set_permissions(root.join("bin/su-like"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
    let deep = ["d".repeat(90), "e".repeat(90), "name with spaces, ü".into()].join("/");
    let deep = root.join("var").join(deep);
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::write(&deep, vec![0; 3 << 20]).unwrap();
    let sif = world.folder().join("varied.sif");
    output(Command::new("apptainer").arg("build").arg(&sif).arg(&root));
    sif
}

/// Extracts a SIF file, and lists what is in it.
fn extract(sif: &Path, root: &Path) -> String {
    let partition = tempfile::NamedTempFile::new().unwrap();
    let file = apptainer::sys::sif::SifFile::open(sif).unwrap();
    let mut object = file.object(file.primary_partition().unwrap());
    std::io::copy(&mut object, &mut partition.as_file()).unwrap();
    let unsquashfs = |words: &[&str]| {
        let mut unsquashfs = Command::new("unsquashfs");
        output(
            unsquashfs
                .args(words)
                .arg("-d")
                .arg(root)
                .arg(partition.path()),
        )
    };
    unsquashfs(&["-no-progress"]);
    unsquashfs(&["-lln"])
}

/// Mode, size, time, link and content of each file in a SIF file but for those that Apptainer
/// writes anew into each.
fn listing(sif: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    const APPTAINERS: [&str; 6] = [
        ".exec",
        ".run",
        ".shell",
        ".test",
        "environment",
        "singularity",
    ];
    const TOUCHED: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let lines = extract(sif, &root);
    let prefix = format!("{}/", root.display());
    let mut listing = BTreeMap::new();
    for line in lines.lines() {
        let Some((found, path)) = line.split_once(&prefix) else {
            continue;
        };
        let name = path.split(['/', ' ']).next().unwrap();
        if name == ".singularity.d" || APPTAINERS.contains(&name) {
            continue;
        }
        // Of a directory, the time is that of its last change, and a build changes some.
        let has_time = !found.starts_with('d') && !TOUCHED.contains(&path);
        let found = if has_time { found } else { &found[..14] };
        let content = fs::read(root.join(path)).unwrap_or_default();
        listing.insert(path.to_owned(), (found.to_owned(), content));
    }
    assert!(listing.len() > 100, "{listing:?}");
    listing
}

async fn says_hello(image: &Image) {
    let mut container = image.container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let said = container.command("echo").arg("hello").output().await;
    assert_eq!(&said.unwrap().stdout[..], b"hello\n");
}

/// An empty directory to export to.
fn target_folder(world: &World) -> PathBuf {
    let folder = world.folder().join("target");
    fs::create_dir(&folder).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// Waits until a directory has nothing else in it: what was dropped is removed on a thread of
/// its own.
async fn has_only(folder: &Path, expected: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while names(folder) != expected {
        assert!(
            Instant::now() < deadline,
            "left behind: {:?}",
            names(folder)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The busybox image as a file of the test's own, with this mode.
async fn own_image(world: &World, mode: u32) -> Image {
    let sif = world.folder().join("own.sif");
    fs::copy(fixtures::busybox_sif(), &sif).unwrap();
    fs::set_permissions(&sif, Permissions::from_mode(mode)).unwrap();
    world.client().image(&sif).await.unwrap()
}

#[tokio::test]
async fn a_file_that_may_be_written_to_is_never_exported_as_a_link() {
    let world = World::new().await;
    let image = own_image(&world, 0o644).await;
    let target = target_folder(&world).join("image.sif");
    let how = image.export_sif(&target).await.unwrap();
    assert_ne!(how, Exported::HardLink);
    let sif = image.sif().unwrap();
    assert_ne!(
        target.metadata().unwrap().ino(),
        sif.metadata().unwrap().ino()
    );
    assert_eq!(fs::read(&target).unwrap(), fs::read(sif).unwrap());
    says_hello(&world.client().image(&target).await.unwrap()).await;
    world.finish();
}

#[tokio::test]
async fn a_file_that_nobody_may_write_to_is_not_copied_unless_told_to() {
    let world = World::new().await;
    let image = own_image(&world, 0o444).await;
    let sif = image.sif().unwrap().metadata().unwrap();
    let target = target_folder(&world).join("image.sif");
    let how = image.export_sif(&target).await.unwrap();
    let is_same = target.metadata().unwrap().ino() == sif.ino();
    match how {
        Exported::Reflink => assert!(!is_same),
        Exported::HardLink => assert!(is_same),
        other => panic!("{other:?}"),
    }
    for mode in [ExportMode::Separate, ExportMode::Copy] {
        let how = image.export_sif(&target).mode(mode).overwrite().await;
        assert_ne!(how.unwrap(), Exported::HardLink);
        assert_ne!(target.metadata().unwrap().ino(), sif.ino());
    }
    // Over another name of the same file.
    for _ in 0..2 {
        image.export_sif(&target).overwrite().await.unwrap();
        assert_eq!(names(target.parent().unwrap()), ["image.sif"]);
    }
    world.finish();
}

#[tokio::test]
async fn what_is_there_is_left_alone() {
    let world = World::new().await;
    let image = world.busybox().await;
    let folder = target_folder(&world);
    let target = folder.join("a");
    fs::write(&target, "mine").unwrap();
    let errors = [
        image.export_sif(&target).await.unwrap_err(),
        image.export_oci_archive(&target).await.unwrap_err(),
        image.export_oci_layout(&target).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_already_exists(), "{error:?}");
    }
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    image.export_sif(&target).overwrite().await.unwrap();
    assert_eq!(
        fs::read(&target).unwrap(),
        fs::read(image.sif().unwrap()).unwrap()
    );
    let layout = folder.join("folder");
    fs::create_dir(&layout).unwrap();
    fs::write(layout.join("mine"), "mine").unwrap();
    let error = image.export_oci_layout(&layout).overwrite().await;
    let error = error.unwrap_err();
    assert!(matches!(error, ExportError::NotALayout { .. }), "{error:?}");
    assert_eq!(names(&layout), ["mine"]);
    assert_eq!(names(&folder), ["a", "folder"]);
    world.finish();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_is_named() {
    let world = World::new().await;
    let image = world.busybox().await;
    let folder = target_folder(&world);
    let failed = async |folder: PathBuf| {
        let target = folder.join("a");
        for error in [
            image.export_sif(&target).await.unwrap_err(),
            image.export_oci_archive(&target).await.unwrap_err(),
            image.export_oci_layout(&target).await.unwrap_err(),
        ] {
            let is_named = matches!(&error, ExportError::Write { path, .. } if *path == folder);
            assert!(is_named, "{error:?}");
        }
    };
    failed(folder.join("nosuch")).await;
    if !nix::unistd::geteuid().is_root() {
        fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
        failed(folder.clone()).await;
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    }
    assert!(names(&folder).is_empty());
    world.finish();
}

#[tokio::test]
async fn a_directory_is_no_sif_file() {
    let world = World::new().await;
    let sandbox = world.folder().join("sandbox");
    busybox_sandbox(&sandbox);
    let image = world.client().image(&sandbox).await.unwrap();
    let target = target_folder(&world).join("a");
    let error = image.export_sif(&target).await.unwrap_err();
    assert!(matches!(error, ExportError::NoSif { .. }), "{error:?}");
    let error = image.push("oras://127.0.0.1:1/a:b").await.unwrap_err();
    assert!(matches!(error, ExportError::NoSif { .. }), "{error:?}");
    world.finish();
}
