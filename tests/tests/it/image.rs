//! Images, and the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apptainer::image::{ImageError, Phase};
use apptainer::sys::process::{Pid, PidFd, Process, Signal};
use apptainer::sys::sif::{Sif, SifError};
use apptainer::{Apptainer, Image, Rootfs};
use fixtures::{Login, Registry, World, busybox_archive, busybox_sandbox, busybox_sif};
use nix::sys::wait::WaitStatus;

async fn says_hello(image: &Image) {
    let mut container = image.container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let output = container
        .command("echo")
        .arg("hello")
        .output()
        .await
        .unwrap();
    assert_eq!(&output.stdout[..], b"hello\n");
}

/// `(files, bytes)` below a folder.
fn usage(folder: &Path) -> (usize, u64) {
    let mut total = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.metadata().unwrap();
        let (files, bytes) = if found.is_dir() {
            usage(&entry.path())
        } else {
            (1, found.len())
        };
        total = (total.0 + files, total.1 + bytes);
    }
    total
}

#[tokio::test]
async fn an_image_is_fetched_once_and_kept_without_a_second_copy() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let image = world.client().image(&reference).no_https().await.unwrap();
    says_hello(&image).await;
    let fetched = registry.answered("GET", "/v2/busybox/blobs/");
    assert!(fetched > 0);

    let again = world.client().image(&reference).no_https().await.unwrap();
    assert_eq!(again.path(), image.path());
    assert_eq!(registry.answered("GET", "/v2/busybox/blobs/"), fetched);

    let sif = image.sif().unwrap();
    let (_, bytes) = usage(world.client().store_dir());
    if image.rootfs() != Rootfs::Sandbox {
        let size = fs::metadata(sif).unwrap().len();
        assert!(bytes < size + 4096, "{bytes} bytes for an image of {size}");
    }
    world.finish();
}

#[tokio::test]
async fn a_digest_says_which_image_whatever_the_tag() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let digest = registry.digest("busybox:1");
    let fetch = async |name: &str| {
        let reference = registry.reference(&format!("{name}@{digest}"));
        let image = world.client().image(&reference).no_https().await.unwrap();
        assert_eq!(image.reference().to_string(), reference);
        image.path().to_owned()
    };
    // Apptainer itself takes no tag beside a digest.
    let path = fetch("busybox:1").await;
    let fetched = registry.answered("GET", "/v2/busybox/blobs/");
    assert_eq!(fetch("busybox:nosuch").await, path);
    assert_eq!(fetch("busybox").await, path);
    assert_eq!(registry.answered("GET", "/v2/busybox/blobs/"), fetched);
    world.finish();
}

#[tokio::test]
async fn what_names_no_image_is_refused_before_anything_is_asked() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    for name in ["Busybox:1", "busybox:1@sha256:1", "busybox:", "busy//box"] {
        let reference = registry.reference(name);
        let error = world.client().image(reference).no_https().await;
        let error = error.unwrap_err();
        assert!(matches!(error, ImageError::Reference(_)), "{error:?}");
    }
    assert_eq!(registry.answered("GET", "/v2/"), 0);
    world.finish();
}

#[tokio::test]
async fn eight_who_ask_at_once_cause_one_pull() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let before = registry.answered("GET", "/v2/busybox/manifests/1");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let image = world
            .client()
            .image(registry.reference("busybox:1"))
            .no_https();
        tasks.spawn(async move { image.await.unwrap().path().to_owned() });
    }
    let paths = tasks.join_all().await;
    assert!(paths.iter().all(|path| *path == paths[0]));
    let one_pull = registry.answered("GET", "/v2/busybox/manifests/1") - before;
    assert_eq!(one_pull, 1);
    world.finish();
}

const STORE: &str = "APPTAINER_TESTS_STORE";
const REFERENCE: &str = "APPTAINER_TESTS_REFERENCE";

/// Not a test: one of several programs that want an image.
#[tokio::test]
#[ignore = "run by tests, as a process of its own"]
async fn fetcher() {
    let [Some(store), Some(reference)] = [STORE, REFERENCE].map(std::env::var_os) else {
        return;
    };
    let client = Apptainer::builder().store_dir(store).build().await.unwrap();
    let image = client.image(reference).no_https().await.unwrap();
    println!("fetched {}", image.path().display());
}

/// Starts [`fetcher`].
fn fetch(world: &World, reference: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["image::fetcher", "--exact", "--ignored", "--nocapture"])
        .env(STORE, world.client().store_dir())
        .env(REFERENCE, reference)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn programs_that_ask_at_once_cause_one_pull() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let before = registry.answered("GET", "/v2/busybox/manifests/1");
    let reference = registry.reference("busybox:1");
    let fetching: Vec<_> = (0..8).map(|_| fetch(&world, &reference)).collect();
    let mut paths = Vec::new();
    for fetching in fetching {
        let output = fetching.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        let path = said.lines().find_map(|line| line.split_once("fetched "));
        paths.push(path.unwrap().1.to_owned());
    }
    assert!(paths.iter().all(|path| *path == paths[0]), "{paths:?}");
    let one_pull = registry.answered("GET", "/v2/busybox/manifests/1") - before;
    assert_eq!(one_pull, 1);
    let locks = world.client().store_dir().join("v1/locks");
    assert_eq!(usage(&locks), (0, 0));
    world.finish();
}

#[tokio::test]
async fn one_that_hangs_is_named_and_its_death_lets_the_next_one_fetch() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let mut hanging = fetch(&world, &reference);
    let locks = world.client().store_dir().join("v1/locks");
    // As soon as its name is there.
    while usage(&locks).1 == 0 {
        assert!(hanging.try_wait().unwrap().is_none(), "it was too fast");
        tokio::task::yield_now().await;
    }
    let pid = Pid::try_from(hanging.id()).unwrap();
    PidFd::open(pid).unwrap().signal(Signal::STOP).unwrap();
    let told = Arc::new(Mutex::new(None));
    let telling = Arc::clone(&told);
    let waiting = world.client().image(&reference).no_https();
    let waiting = waiting
        .timeout(Duration::from_secs(1))
        .on_progress(move |progress| *telling.lock().unwrap() = progress.holder);
    // Of two, the second waits for the first, and names the same.
    let behind = world.client().image(&reference).no_https();
    let behind = behind.timeout(Duration::from_millis(500));
    let (waited, behind) = tokio::join!(waiting.into_future(), behind.into_future());
    let is_named = matches!(
        behind.unwrap_err(),
        ImageError::Held { holder, .. } if holder.pid == hanging.id()
    );
    assert!(is_named);
    let error = waited.unwrap_err();
    let ImageError::Held { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.pid, hanging.id());
    assert_eq!(told.lock().unwrap().as_ref(), Some(holder));
    hanging.kill().unwrap();
    hanging.wait().unwrap();
    // In its own time.
    let image = world.client().image(&reference).no_https();
    let image = image.timeout(Duration::MAX).await.unwrap();
    says_hello(&image).await;
    world.finish();
}

#[tokio::test]
async fn a_pull_ends_with_the_program_that_wanted_it() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let mut fetching = fetch(&world, &registry.reference("busybox:1"));
    let program = Pid::try_from(fetching.id()).unwrap();
    let pulling = loop {
        let table = Process::all().unwrap();
        let is_its = |process: &&Process| process.parent == program && is_pull(process.pid);
        if let Some(process) = table.iter().find(is_its) {
            break process.pid;
        }
        assert!(fetching.try_wait().unwrap().is_none(), "it was too fast");
    };
    fetching.kill().unwrap();
    fetching.wait().unwrap();
    // Orphaned, it is this process's to reap.
    let pulling = nix::unistd::Pid::from_raw(pulling);
    let ended = nix::sys::wait::waitpid(pulling, None).unwrap();
    let killed = nix::sys::signal::Signal::SIGKILL;
    assert!(
        matches!(ended, WaitStatus::Signaled(_, signal, _) if signal == killed),
        "{ended:?}"
    );
    // Whoever comes next clears up what it had written.
    let image = world.client().image(registry.reference("busybox:1"));
    image.no_https().await.unwrap();
    world.finish();
}

/// Whether a process is an `apptainer pull`.
fn is_pull(pid: Pid) -> bool {
    let words = Process::command_line(pid).unwrap().unwrap_or_default();
    words.iter().any(|word| word == b"pull")
}

#[tokio::test]
async fn progress_is_told_in_order() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let phases = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&phases);
    let image = world
        .client()
        .image(registry.reference("busybox:1"))
        .no_https()
        .on_progress(move |progress| told.lock().unwrap().push(progress.phase));
    image.await.unwrap();
    let mut phases = phases.lock().unwrap().clone();
    phases.dedup();
    phases.retain(|phase| *phase != Phase::Extracting);
    let expected = [
        Phase::Resolving,
        Phase::Fetching,
        Phase::Unpacking,
        Phase::Compressing,
        Phase::Verifying,
        Phase::Storing,
        Phase::Done,
    ];
    assert_eq!(phases, expected);
    world.finish();
}

/// Checks that there is no entry, or a whole one that is not extracted yet.
fn assert_nothing_half(images: &Path) {
    for entry in fs::read_dir(images).into_iter().flatten() {
        let entry = entry.unwrap().path();
        Sif::open(&entry.join("image.sif")).unwrap();
        assert_eq!(usage(&entry).0, 2, "{}", entry.display());
    }
}

#[tokio::test]
async fn a_pull_dropped_at_any_moment_leaves_nothing() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let images = world.client().store_dir().join("v1/images");
    for moment in (0..400).step_by(40) {
        let image = world.client().image(&reference).no_https();
        let limit = Duration::from_millis(moment);
        if tokio::time::timeout(limit, image.into_future())
            .await
            .is_ok()
        {
            break;
        }
        assert_nothing_half(&images);
    }
    let image = world.client().image(&reference).no_https().await.unwrap();
    says_hello(&image).await;
    world.finish();
}

#[tokio::test]
async fn archives_and_layouts_are_images_too() {
    let world = World::new().await;
    let archive = busybox_archive();
    for transport in ["oci-archive", "docker-archive", "oci"] {
        // Of a layout, Apptainer 1.4 takes the directory, without a tag.
        let target = world.folder().join(transport);
        let copied = std::process::Command::new("skopeo")
            .args(["copy", "--quiet"])
            .arg(format!("tarball:{}", archive.display()))
            .arg(format!("{transport}:{}:one", target.display()))
            .output()
            .unwrap();
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let reference = format!("{transport}:{}", target.display());
        let image = world.client().image(&reference).await.unwrap();
        says_hello(&image).await;
    }
    world.finish();
}

#[tokio::test]
async fn a_sandbox_directory_is_an_image() {
    let world = World::new().await;
    let sandbox = world.folder().join("sandbox");
    busybox_sandbox(&sandbox);
    let image = world.client().image(&sandbox).await.unwrap();
    assert_eq!(image.rootfs(), Rootfs::Sandbox);
    assert_eq!(image.sif(), None);
    says_hello(&image).await;
    world.finish();
}

#[tokio::test]
async fn the_rootfs_is_what_this_machine_allows() {
    let world = World::new().await;
    let image = world.busybox().await;
    let without_fuse = std::env::var_os("WITHOUT_FUSE").is_some();
    let expected = if nix::unistd::geteuid().is_root() {
        Rootfs::Kernel
    } else if without_fuse {
        Rootfs::Sandbox
    } else {
        Rootfs::Fuse
    };
    assert_eq!(image.rootfs(), expected);
    assert_eq!(image.path().is_dir(), expected == Rootfs::Sandbox);
    says_hello(&image).await;
    let again = world.busybox().await;
    assert_eq!(again.path(), image.path(), "extracted once");
    world.finish();
}

#[tokio::test]
async fn files_that_are_no_images_are_refused() {
    let world = World::new().await;
    let whole = fs::read(busybox_sif()).unwrap();
    let path = world.folder().join("image.sif");
    let refused = async |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match world.client().image(&path).await.unwrap_err() {
            ImageError::Invalid { source, .. } => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(refused(b"").await, SifError::NotSif));
    assert!(matches!(
        refused(b"#!/bin/sh\necho not an image\n").await,
        SifError::NotSif
    ));
    assert!(matches!(
        refused(&vec![0x55; 100_000]).await,
        SifError::NotSif
    ));
    for length in [200, 20_000, whole.len() - 1] {
        let error = refused(&whole[..length]).await;
        assert!(
            matches!(error, SifError::Truncated { .. }),
            "{length}: {error:?}"
        );
    }
    world.finish();
}

#[tokio::test]
async fn an_image_that_is_not_there_is_not_found() {
    let world = World::new().await;
    let error = world.client().image("/nosuch/image.sif").await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let error = world
        .client()
        .image("oci-archive:/nosuch.tar")
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let error = world
        .client()
        .image("docker-daemon:busybox")
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Reference(_)), "{error:?}");
    world.finish();
}

#[tokio::test]
async fn an_image_damaged_in_the_store_is_fetched_again() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let image = world.client().image(&reference).no_https().await.unwrap();
    let sif = image.sif().unwrap();
    // Nobody can by mistake.
    let opened = fs::File::options().write(true).open(sif);
    assert!(opened.is_err() || nix::unistd::geteuid().is_root());
    fs::set_permissions(sif, fs::Permissions::from_mode(0o755)).unwrap();
    let file = fs::File::options().write(true).open(sif).unwrap();
    file.set_len(1000).unwrap();
    let image = world.client().image(&reference).no_https().await.unwrap();
    says_hello(&image).await;
    world.finish();
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed_by_the_next() {
    let world = World::new().await;
    let work = world.client().store_dir().join("v1/work");
    fs::create_dir_all(work.join("work-dead/entry")).unwrap();
    fs::write(work.join("work-dead/entry/image.sif"), "half").unwrap();
    fs::write(work.join("work-dead.lock"), "").unwrap();
    world.client().store().list().await.unwrap();
    assert!(!work.join("work-dead").exists());
    world.finish();
}
