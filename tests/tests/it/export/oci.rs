//! As OCI images.

use apptainer::Rootfs;
use apptainer::sys::sif::{Arch, FsType, SifWriter};
use fixtures::{Login, Registry};
use serde_json::{Value, json};

use super::*;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The path of the blob that something in a layout points at.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// The manifest and the configuration of the only image in a layout.
fn documents(layout: &Path) -> [Value; 2] {
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(layout, &index["manifests"][0]));
    let config = json(&blob(layout, &manifest["config"]));
    [manifest, config]
}

/// A SIF file with files that only root can extract, and with the configuration of an OCI
/// image.
fn difficult_sif(world: &World, config: &Value) -> PathBuf {
    let root = world.folder().join("difficult");
    let squashfs = world.folder().join("squashfs");
    fs::create_dir(&root).unwrap();
    let mut command = Command::new("mksquashfs");
    command.arg(&root).arg(&squashfs).arg("-quiet");
    for file in [
        "null c 666 0 0 1 3",
        "su f 4755 0 0 echo su",
        "secret f 000 0 0 echo secret",
        "locked d 000 0 0",
        "locked/file f 600 0 0 echo locked",
    ] {
        command.args(["-p", file]);
    }
    output(&mut command);
    let metadata = json!({
        "data": {"attributes": {"labels": {"author": "alice", "own": "0"}}},
        "type": "container",
    });
    let mut writer = SifWriter::new(Arch::Arm64);
    writer.identity([7; 16], 951_782_400);
    let metadata = serde_json::from_value(metadata).unwrap();
    writer.metadata(&metadata).unwrap();
    writer.oci_config(config).unwrap();
    writer
        .primary_partition(FsType::Squashfs, &squashfs)
        .unwrap();
    let sif = world.folder().join("difficult.sif");
    writer
        .write(&mut fs::File::create_new(&sif).unwrap())
        .unwrap();
    sif
}

#[tokio::test]
async fn files_that_only_root_can_extract_and_an_oci_configuration_arrive() {
    let world = World::new().await;
    if world.busybox().await.rootfs() == Rootfs::Sandbox {
        eprintln!("not tested: the store cannot extract such an image");
        return world.finish();
    }
    let own = json!({
        "Entrypoint": ["/su"],
        "Env": ["A=b"],
        "Labels": {"own": "1"},
        "User": "7:8",
        "WorkingDir": "/srv",
    });
    let image = difficult_sif(&world, &own);
    let image = world.client().image(&image).await.unwrap();
    let folder = target_folder(&world);
    let layout = folder.join("layout");
    image.export_oci_layout(&layout).await.unwrap();
    let [manifest, config] = documents(&layout);
    let mut expected = own;
    expected["Labels"] = json!({"author": "alice", "own": "1"});
    assert_eq!(config["config"], expected);
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["created"], "2000-02-29T00:00:00Z");
    let layer = blob(&layout, &manifest["layers"][0]);
    let tar = |words: &[&str]| output(Command::new("tar").args(words).arg("-zf").arg(&layer));
    let listed = tar(&["--list", "--verbose", "--numeric-owner"]);
    let mode_and_name = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "{line}");
        format!("{} {}", words[0], words.last().unwrap())
    };
    let listed: Vec<_> = listed.lines().map(mode_and_name).collect();
    let expected = [
        "d--------- locked/",
        "-rw------- locked/file",
        "---------- secret",
        "-rwsr-xr-x su",
    ];
    assert!(listed[0].ends_with(" ./"), "{listed:?}");
    assert_eq!(listed[1..], expected);
    let contents = tar(&["--extract", "--to-stdout"]);
    assert_eq!(contents, "locked\nsecret\nsu\n");
    assert_eq!(names(&folder), ["layout"]);
    world.finish();
}

/// Has skopeo read an image and all its blobs, which it checks.
fn assert_skopeo_reads(world: &World, reference: &str, digest: &str) {
    let inspected = output(Command::new("skopeo").args(["inspect", reference]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], digest);
    assert_eq!(inspected["Os"], "linux");
    let labels = inspected["Labels"].as_object().unwrap();
    assert!(
        labels.contains_key("org.label-schema.build-date"),
        "{labels:?}"
    );
    let copy = world.folder().join("copy");
    let copied = format!("docker-archive:{}:busybox:one", copy.display());
    output(Command::new("skopeo").args(["copy", reference, &copied]));
    fs::remove_file(&copy).unwrap();
}

#[tokio::test]
async fn an_image_goes_out_and_comes_in_as_it_was() {
    let world = World::new().await;
    let sif = varied_sif(&world);
    let image = world.client().image(&sif).await.unwrap();
    let original = listing(&sif);
    let folder = target_folder(&world);
    let target = |name| folder.join(name).display().to_string();
    let exported = image.export_oci_layout(target("layout")).await.unwrap();
    assert_eq!(exported.tag, "latest");
    let archived = image.export_oci_archive(target("archive")).await.unwrap();
    assert_eq!(archived, exported);
    assert_eq!(names(&folder), ["archive", "layout"]);
    for (transport, name) in [("oci", "layout"), ("oci-archive", "archive")] {
        let reference = format!("{transport}:{}", target(name));
        let tagged = format!("{reference}:latest");
        assert_skopeo_reads(&world, &tagged, &exported.digest);
        let again = world.client().image(&reference).await.unwrap();
        says_hello(&again).await;
        let found = listing(again.sif().unwrap());
        for (path, file) in &original {
            let again = found.get(path).map(|again| &again.0);
            assert_eq!(again, Some(&file.0), "{path}");
        }
        assert!(found == original, "a file more, or another content");
    }
    world.finish();
}

#[tokio::test]
async fn an_image_of_a_registry_keeps_its_name_and_says_no_more_than_it_did() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&fixtures::busybox_archive(), "busybox:1.0");
    let reference = registry.reference("busybox:1.0");
    let image = world.client().image(&reference).no_https().await.unwrap();
    let folder = target_folder(&world);
    let layout = folder.join("layout");
    let exported = image.export_oci_layout(&layout).await.unwrap();
    assert_eq!(exported.tag, "1.0");
    let full = format!("{}/busybox:1.0", registry.host());
    let index = json(&layout.join("index.json"));
    let expected = json!({
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": "1.0",
    });
    assert_eq!(index["manifests"][0]["annotations"], expected);
    let docker = json(&layout.join("manifest.json"));
    assert_eq!(docker[0]["RepoTags"], json!([full]));
    // It says nothing of what is run.
    let config = &documents(&layout)[1]["config"];
    assert_eq!(
        (&config["Entrypoint"], &config["Cmd"]),
        (&Value::Null, &Value::Null)
    );
    // What docker reads of it, skopeo reads as docker does.
    let archive = folder.join("archive");
    image.export_oci_archive(&archive).await.unwrap();
    let saved = format!("docker-archive:{}:{full}", archive.display());
    let raw = output(Command::new("skopeo").args(["inspect", "--config", &saved]));
    let raw: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(raw["rootfs"], documents(&layout)[1]["rootfs"]);
    world.finish();
}

#[tokio::test]
async fn the_same_image_has_the_same_digest_each_time() {
    let world = World::new().await;
    let image = world.busybox().await;
    let folder = target_folder(&world);
    let export = async |name: &str| {
        let target = folder.join(name);
        let exported = image.export_oci_archive(&target).tag("one").await.unwrap();
        (exported, fs::read(&target).unwrap())
    };
    let first = export("first").await;
    assert!(first == export("second").await, "other bytes");
    assert_eq!(first.0.tag, "one");
    // Overwritten, too.
    let layout = folder.join("layout");
    for _ in 0..2 {
        let exported = image.export_oci_layout(&layout).overwrite().await.unwrap();
        assert_eq!(exported.digest, first.0.digest);
    }
    assert_eq!(names(&folder), ["first", "layout", "second"]);
    world.finish();
}

/// A sandbox with a run script and an environment script.
fn scripted_sandbox(world: &World) -> PathBuf {
    let sandbox = world.folder().join("scripted");
    extract(&fixtures::busybox_sif(), &sandbox);
    let own = sandbox.join(".singularity.d");
    fs::write(
        own.join("runscript"),
        "#!/bin/sh\necho \"$GREETING\" \"$@\"\n",
    )
    .unwrap();
    fs::write(
        own.join("env/90-environment.sh"),
        "export GREETING='hello, world'\n",
    )
    .unwrap();
    sandbox
}

#[tokio::test]
async fn what_is_run_is_the_same_afterwards() {
    let world = World::new().await;
    let sandbox = scripted_sandbox(&world);
    let run = |image: &Path| {
        let mut command = Command::new("apptainer");
        command.arg("run");
        if nix::unistd::geteuid().is_root() {
            command.arg("--no-privs");
        }
        output(command.arg(image).args(["a  b", "c"]))
    };
    let expected = "hello, world a  b c\n";
    assert_eq!(run(&sandbox), expected);
    let image = world.client().image(&sandbox).await.unwrap();
    let folder = target_folder(&world);
    let first = folder.join("first");
    image.export_oci_layout(&first).await.unwrap();
    let reference = format!("oci:{}", first.display());
    let again = world.client().image(&reference).await.unwrap();
    assert_eq!(run(again.path()), expected);
    // Now it is made of an OCI image, and what that says stays.
    let second = folder.join("second");
    again.export_oci_layout(&second).await.unwrap();
    let entrypoint = |layout: &Path| documents(layout)[1]["config"]["Entrypoint"].take();
    assert!(entrypoint(&first).is_array());
    assert_eq!(entrypoint(&first), entrypoint(&second));
    world.finish();
}

#[tokio::test]
async fn a_file_of_a_sandbox_that_cannot_be_read_is_named() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let world = World::new().await;
    let sandbox = world.folder().join("sandbox");
    busybox_sandbox(&sandbox);
    let secret = sandbox.join("etc/shadow");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o0)).unwrap();
    let image = world.client().image(&sandbox).await.unwrap();
    let folder = target_folder(&world);
    let error = image.export_oci_layout(folder.join("a")).await.unwrap_err();
    let ExportError::Read { path, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*path, fs::canonicalize(&secret).unwrap());
    assert_eq!(secret.metadata().unwrap().mode() & 0o777, 0, "as it was");
    has_only(&folder, &[]).await;
    world.finish();
}

#[tokio::test]
async fn an_export_dropped_at_any_moment_leaves_nothing() {
    let world = World::new().await;
    let image = world.busybox().await;
    let folder = target_folder(&world);
    let layout = folder.join("layout");
    let archive = folder.join("archive");
    let sif = folder.join("sif");
    let (mut cut_off, mut late) = (0, 0);
    let later = |moment: &u64| Some(moment * 5 / 4 + 8);
    for moment in std::iter::successors(Some(0), later).map(Duration::from_millis) {
        let exports: [Box<dyn Future<Output = bool> + Unpin>; 3] = [
            Box::new(Box::pin(async {
                image.export_oci_layout(&layout).await.is_ok()
            })),
            Box::new(Box::pin(async {
                image.export_oci_archive(&archive).await.is_ok()
            })),
            Box::new(Box::pin(async {
                let export = image.export_sif(&sif).mode(ExportMode::Copy);
                export.await.is_ok()
            })),
        ];
        let mut finished = 0;
        for (export, target) in exports.into_iter().zip([&layout, &archive, &sif]) {
            match tokio::time::timeout(moment, export).await {
                Ok(succeeded) => {
                    assert!(succeeded);
                    finished += 1;
                }
                Err(_) => cut_off += 1,
            }
            remove(target);
            late += u32::from(comes_late(&folder, target).await);
        }
        if finished == 3 {
            break;
        }
    }
    assert!(cut_off > 5, "{cut_off}");
    // Dropped just as it is put in its place, it is whole; that is a matter of microseconds.
    assert!(late <= 1, "{late} of {cut_off} were finished all the same");
    world.finish();
}

/// Waits until nothing is left beside the target; whether that was put there meanwhile.
async fn comes_late(folder: &Path, target: &Path) -> bool {
    let name = target.file_name().unwrap().to_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let names = names(folder);
        if names.is_empty() || names == [name] {
            remove(target);
            return !names.is_empty();
        }
        assert!(Instant::now() < deadline, "left behind: {names:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What was finished after all is whole.
fn remove(target: &Path) {
    if target.is_dir() {
        let layout = target.display();
        output(Command::new("skopeo").args(["inspect", &format!("oci:{layout}:latest")]));
        fs::remove_dir_all(target).unwrap();
    } else if target.exists() {
        fs::remove_file(target).unwrap();
    }
}

#[tokio::test]
async fn one_that_takes_too_long_says_so() {
    let world = World::new().await;
    let image = world.busybox().await;
    let folder = target_folder(&world);
    let export = image.export_oci_archive(folder.join("a"));
    let error = export.timeout(Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(error, ExportError::TimedOut { .. }), "{error:?}");
    has_only(&folder, &[]).await;
    world.finish();
}
