//! Stores on file systems that are full, or cannot be written to.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use apptainer::image::{ImageError, Prune, PullPolicy};
use apptainer::{Apptainer, Image};
use fixtures::{Login, Registry, World, busybox_archive};
use nix::sys::statvfs::statvfs;

pub(super) const FOLDER: &str = "APPTAINER_TESTS_FOLDER";
const REFERENCE: &str = "APPTAINER_TESTS_REFERENCE";

pub(super) async fn says_hello(image: &Image) {
    let mut container = image.container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let output = container.command("echo").arg("hello").output().await;
    assert_eq!(&output.unwrap().stdout[..], b"hello\n");
}

/// Runs a test that is ignored in mounts of its own, which a script has made with the folder as
/// its `$0`. Only to mount does it have capabilities.
pub(super) fn run_in_mounts(script: &str, folder: &Path, test: &str, reference: &str) {
    let mut command = Command::new("unshare");
    let mut enter = "exec \"$@\"";
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
        // With one user on the map nobody can be made root.
        command.env_remove("WITH_FAKEROOT");
        enter = "exec setpriv --ambient-caps -all --inh-caps -all \"$@\"";
    }
    let status = command
        .args(["--mount", "sh", "-c"])
        .arg(format!("{script} && {enter}"))
        .arg(folder)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(REFERENCE, reference)
        .status();
    assert!(status.unwrap().success());
}

pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Another program's client of the same store.
async fn another(world: &World) -> Apptainer {
    let builder = Apptainer::builder()
        .config_dir(world.folder().join("config"))
        .store_dir(world.client().store_dir());
    builder.build().await.unwrap()
}

/// A tar file with a file that takes so many bytes, however it is compressed, in a root file
/// system of busybox.
pub(super) fn large_archive(folder: &Path, bytes: u64) -> PathBuf {
    let path = folder.join("large.tar");
    fs::copy(busybox_archive(), &path).unwrap();
    let random = File::open("/dev/urandom").unwrap();
    let mut file = File::create(folder.join("random")).unwrap();
    io::copy(&mut random.take(bytes), &mut file).unwrap();
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "-C"]).arg(folder);
    let added = command.arg("-rf").arg(&path).arg("random").status();
    assert!(added.unwrap().success());
    path
}

/// Writes a file until so many bytes are free on its file system.
pub(super) fn fill(path: &Path, free: u64) {
    let _ = fs::remove_file(path);
    let mut file = File::create(path).unwrap();
    let found = statvfs(path).unwrap();
    let bytes = found.blocks_available() * found.fragment_size() - free;
    io::copy(&mut io::repeat(0).take(bytes), &mut file).unwrap();
}

#[tokio::test]
async fn a_full_file_system_is_an_error_that_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run_in_mounts(
        "mount -t tmpfs -o size=64m,nr_inodes=4000 tmpfs \"$0\"",
        folder.path(),
        "store_trouble::on_a_small_file_system",
        "",
    );
}

/// Not a test by itself: it needs the mount.
#[tokio::test]
#[ignore = "run by another test, in mounts of its own"]
async fn on_a_small_file_system() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    let world = World::with(|builder| builder.store_dir(folder.join("store"))).await;
    let registry = Registry::start(Login::None);
    let archive = large_archive(world.folder(), 4 << 20);
    registry.push(&archive, "large:1");
    let reference = registry.reference("large:1");
    let get = || world.client().image(&reference).no_https();
    let store = world.client().store();
    let all = || {
        Prune::new()
            .older_than(Duration::ZERO)
            .unfinished_for(Duration::ZERO)
    };
    let filler = folder.join("filler");
    store.list().await.unwrap();
    let mut failed = 0;
    for free in [0, 64 << 10, 1 << 20, 5 << 20, 8 << 20, 12 << 20] {
        fill(&filler, free);
        if let Err(error) = get().await {
            assert!(error.is_storage_full(), "{free} bytes free: {error:?}");
            failed += 1;
        }
        for part in ["work", "blobs", "locks"] {
            let left = entries(&folder.join("store/v1").join(part));
            assert!(left.is_empty(), "{free} bytes free: {left:?}");
        }
        // What was made before there was no room to extract it is whole.
        assert!(store.verify().await.unwrap().is_empty());
        store.prune(all()).await.unwrap();
    }
    assert!(failed > 3, "{failed} times there was no room");
    fs::remove_file(&filler).unwrap();
    says_hello(&get().await.unwrap()).await;

    // There is room again even if there is none for a lock.
    fs::write(folder.join("store/v1/blobs/sha256-left.part"), "left").unwrap();
    fill(&filler, 0);
    for number in 0.. {
        if File::create(folder.join(format!("file-{number}"))).is_err() {
            break;
        }
    }
    let pruned = store.prune(all()).await.unwrap();
    assert!(!pruned.removed.is_empty());
    store.prune(all()).await.unwrap();
    assert_eq!(store.usage().await.unwrap().total(), 0);
    world.finish();
}

#[tokio::test]
async fn what_is_in_a_store_that_cannot_be_written_to_is_run() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("not tested: root may write everywhere");
        return;
    }
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    drop(world.client().image(&reference).no_https().await.unwrap());
    let root = world.client().store_dir().join("v1");
    let mut folders = vec![root.clone()];
    folders.extend(entries(&root).into_iter().filter(|path| path.is_dir()));
    let chmod = |mode| {
        for folder in &folders {
            fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        }
    };
    chmod(0o555);
    assert_read_only(&another(&world).await, &reference).await;
    chmod(0o755);
    world.finish();
}

#[tokio::test]
async fn what_is_in_a_store_that_is_mounted_read_only_is_run() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    drop(world.client().image(&reference).no_https().await.unwrap());
    let requests = registry.requests("/v2/");
    run_in_mounts(
        "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"",
        world.client().store_dir(),
        "store_trouble::in_a_store_that_is_mounted_read_only",
        &reference,
    );
    assert_eq!(registry.requests("/v2/"), requests);
    world.finish();
}

/// Not a test by itself: it needs the mount.
#[tokio::test]
#[ignore = "run by another test, in mounts of its own"]
async fn in_a_store_that_is_mounted_read_only() {
    let [Some(store), Some(reference)] = [FOLDER, REFERENCE].map(variable) else {
        return;
    };
    let world = World::with(|builder| builder.store_dir(store)).await;
    let reference = reference.to_str().unwrap();
    assert_read_only(world.client(), reference).await;
    world.finish();
}

async fn assert_read_only(client: &Apptainer, reference: &str) {
    for policy in [
        PullPolicy::default(),
        PullPolicy::IfMissing,
        PullPolicy::Never,
    ] {
        let image = client.image(reference).no_https().policy(policy);
        says_hello(&image.await.unwrap()).await;
    }
    let other = format!("{reference}-other");
    let error = client.image(other).no_https().await.unwrap_err();
    let ImageError::Store { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(
        source.kind(),
        PermissionDenied | ReadOnlyFilesystem
    ));
    let store = client.store();
    let image = store.list().await.unwrap().remove(0);
    assert!(store.remove(&image).await.is_err());
    assert!(image.path.exists());
    assert!(store.verify().await.unwrap().is_empty());
}
