//! The store as programs see it: what is in it, and what it takes to get rid of that.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use apptainer::image::{Form, ImageError, Phase, Prune, StoredImage};
use apptainer::{Container, Image, Reference, Rootfs};
use fixtures::{Login, Registry, World, busybox_archive};

/// A world with some images of a registry that are not alike.
struct Stocked {
    world: World,
    registry: Registry,
}

impl Stocked {
    async fn with(names: &[&str]) -> Self {
        let world = World::new().await;
        let registry = Registry::start(Login::None);
        for name in names {
            let root = world.folder().join(name);
            fs::create_dir(&root).unwrap();
            fs::write(root.join(name), name).unwrap();
            // The same layer of busybox, and one of its own.
            let archive = world.folder().join(format!("{name}.tar"));
            fs::copy(busybox_archive(), &archive).unwrap();
            let added = std::process::Command::new("tar")
                .args(["--append", "-f"])
                .arg(&archive)
                .arg("-C")
                .arg(&root)
                .arg(name)
                .status();
            assert!(added.unwrap().success());
            registry.push(&archive, &format!("{name}:1"));
        }
        Self { world, registry }
    }

    fn reference(&self, name: &str) -> String {
        self.registry.reference(&format!("{name}:1"))
    }

    async fn fetch(&self, name: &str) -> Image {
        let image = self.world.client().image(self.reference(name));
        image.no_https().await.unwrap()
    }

    async fn list(&self) -> Vec<StoredImage> {
        self.world.client().store().list().await.unwrap()
    }

    /// The SIF files of these images, in this order.
    async fn listed(&self, names: &[&str]) -> Vec<StoredImage> {
        let list = self.list().await;
        let find = |name: &&str| {
            let reference = self.reference(name);
            let is_it =
                |image: &&StoredImage| image.reference == reference && image.form == Form::Sif;
            list.iter().find(is_it).unwrap().clone()
        };
        names.iter().map(find).collect()
    }

    async fn prune(&self, prune: Prune) -> Vec<String> {
        let pruned = self.world.client().store().prune(prune).await.unwrap();
        let removed = pruned.removed.into_iter();
        let sif = removed.filter(|image| image.form == Form::Sif);
        sif.map(|image| image.reference).collect()
    }
}

/// A container of an image, one that root may start too.
fn container_of(image: &Image) -> Container {
    let container = image.container();
    if nix::unistd::geteuid().is_root() {
        container.no_privileges()
    } else {
        container
    }
}

/// Has it that an image was last used so long ago.
fn age(image: &StoredImage, age: Duration) {
    let record = image.path.parent().unwrap().join("entry.json");
    let file = fs::File::options().write(true).open(record).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn what_is_kept_is_listed() {
    let stocked = Stocked::with(&["one"]).await;
    assert!(stocked.list().await.is_empty());
    let image = stocked.fetch("one").await;
    let listed = stocked.listed(&["one"]).await;
    let [one] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(one.digest.as_deref(), image.digest());
    assert_eq!(
        one.digest.as_deref(),
        Some(stocked.registry.digest("one:1").as_str())
    );
    assert_eq!(Some(one.path.as_path()), image.sif());
    assert!(one.is_in_use && !one.is_pinned && !one.is_shared);
    assert!(one.created.elapsed().unwrap() < HOUR);
    assert!(one.last_used.elapsed().unwrap() < HOUR);
    let store = stocked.world.client().store();
    let usage = store.usage().await.unwrap();
    assert_eq!(usage.images, one.size);
    assert_eq!(usage.unfinished, 0, "layers are given up");
    assert_eq!(usage.sandboxes > 0, image.rootfs() == Rootfs::Sandbox);
    assert!(one.size >= fs::metadata(&one.path).unwrap().len());
    let reference = Reference::parse(stocked.reference("one")).unwrap();
    let found = store.find(&reference).await.unwrap();
    assert!(found.iter().any(|image| image.path == one.path));
    let other = Reference::parse("docker://example.org/other").unwrap();
    assert!(store.find(&other).await.unwrap().is_empty());
    stocked.world.finish();
}

#[tokio::test]
async fn an_image_in_use_is_not_removed() {
    let stocked = Stocked::with(&["one"]).await;
    let image = stocked.fetch("one").await;
    let store = stocked.world.client().store();
    let one = stocked.listed(&["one"]).await.remove(0);
    let error = store.remove(&one).await.unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error}");
    drop(image);
    for image in stocked.list().await {
        store.remove(&image).await.unwrap();
    }
    // Who comes second finds it done.
    store.remove(&one).await.unwrap();
    assert!(stocked.list().await.is_empty());
    assert!(is_empty(
        &stocked.world.client().store_dir().join("v1/images")
    ));
    stocked.fetch("one").await;
    stocked.world.finish();
}

#[tokio::test]
async fn what_an_instance_runs_from_stays_until_it_stops() {
    let stocked = Stocked::with(&["one"]).await;
    let image = stocked.fetch("one").await;
    let container = container_of(&image);
    drop(image);
    let instance = container.start().await.unwrap();
    // Nothing of this program holds it any more.
    drop(container);
    let store = stocked.world.client().store();
    let everything = || Prune::new().older_than(Duration::ZERO);
    let pruned = store.prune(everything()).await.unwrap();
    assert!(pruned.removed.is_empty(), "{pruned:?}");
    assert!(!pruned.in_use.is_empty());
    let output = instance.command("echo").arg("hello").output().await;
    assert_eq!(&output.unwrap().stdout[..], b"hello\n");
    instance.stop().await.unwrap();
    let pruned = store.prune(everything()).await.unwrap();
    assert!(pruned.in_use.is_empty(), "{pruned:?}");
    assert!(stocked.list().await.is_empty());
    stocked.world.finish();
}

#[tokio::test]
async fn what_a_link_or_a_command_runs_from_stays_until_that_ends() {
    let stocked = Stocked::with(&["one"]).await;
    let image = stocked.fetch("one").await;
    let container = container_of(&image);
    drop(image);
    let link = container.link().await.unwrap();
    let mut child = container
        .command("cat")
        .mechanism(apptainer::exec::Mechanism::Cli)
        .stdin(apptainer::Stdio::piped())
        .spawn()
        .await
        .unwrap();
    drop(container);
    let store = stocked.world.client().store();
    let everything = || Prune::new().older_than(Duration::ZERO);
    let is_kept = async || {
        let pruned = store.prune(everything()).await.unwrap();
        !pruned.in_use.is_empty() && pruned.removed.is_empty()
    };
    assert!(is_kept().await);
    drop(child.stdin.take());
    child.wait().await.unwrap();
    drop(child);
    assert!(is_kept().await, "the link is still there");
    let output = link.command("echo").arg("hello").output().await;
    assert_eq!(&output.unwrap().stdout[..], b"hello\n");
    link.close().await.unwrap();
    let pruned = store.prune(everything()).await.unwrap();
    assert!(pruned.in_use.is_empty(), "{pruned:?}");
    stocked.world.finish();
}

#[tokio::test]
async fn what_was_not_used_for_long_is_pruned() {
    let stocked = Stocked::with(&["new", "old"]).await;
    for name in ["new", "old"] {
        stocked.fetch(name).await;
    }
    for image in stocked.list().await {
        if image.reference == stocked.reference("old") {
            age(&image, 5 * HOUR);
        }
    }
    let policy = || Prune::new().unused_for(4 * HOUR);
    let would = stocked.prune(policy().dry_run()).await;
    assert_eq!(would, [stocked.reference("old")]);
    stocked.listed(&["new", "old"]).await;
    // To use it is to keep it.
    stocked.fetch("old").await;
    let sandboxes_aside = stocked.prune(policy()).await;
    assert!(sandboxes_aside.is_empty(), "{sandboxes_aside:?}");
    for image in stocked.listed(&["old"]).await {
        age(&image, 5 * HOUR);
    }
    assert_eq!(stocked.prune(policy()).await, [stocked.reference("old")]);
    stocked.listed(&["new"]).await;
    stocked.world.finish();
}

#[tokio::test]
async fn the_longest_unused_make_room_for_the_others() {
    let stocked = Stocked::with(&["one", "two", "three"]).await;
    for name in ["one", "two", "three"] {
        stocked.fetch(name).await;
    }
    let store = stocked.world.client().store();
    for sandbox in stocked.list().await {
        if sandbox.form == Form::Sandbox {
            store.remove(&sandbox).await.unwrap();
        }
    }
    let images = stocked.listed(&["one", "two", "three"]).await;
    for (image, hours) in images.iter().zip([3, 2, 1]) {
        age(image, hours * HOUR);
    }
    store.pin(&images[0]).await.unwrap();
    let keep = images[0].size + images[2].size;
    let removed = stocked.prune(Prune::new().keep_bytes(keep)).await;
    assert_eq!(removed, [stocked.reference("two")], "one is pinned");
    let left = stocked.listed(&["one", "three"]).await;
    assert!(left[0].is_pinned && !left[1].is_pinned);
    let more = Prune::new().free_bytes(u64::MAX);
    assert_eq!(stocked.prune(more).await, [stocked.reference("three")]);
    store.unpin(&left[0]).await.unwrap();
    let removed = stocked.prune(Prune::new().keep_bytes(0)).await;
    assert_eq!(removed, [stocked.reference("one")]);
    stocked.world.finish();
}

#[tokio::test]
async fn damage_is_found_and_mended() {
    let stocked = Stocked::with(&["one"]).await;
    let image = stocked.fetch("one").await;
    let sif = image.sif().unwrap().to_owned();
    drop(image);
    let store = stocked.world.client().store();
    assert!(store.verify().await.unwrap().is_empty());
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&sif, permissions).unwrap();
    let mut bytes = fs::read(&sif).unwrap();
    let last = bytes.len() - 5000;
    bytes[last] ^= 1;
    fs::write(&sif, bytes).unwrap();
    let damaged = store.verify().await.unwrap();
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].image.path, sif);
    assert!(damaged[0].reason.contains("digest"), "{damaged:?}");
    store.remove(&damaged[0].image).await.unwrap();
    stocked.fetch("one").await;
    assert!(store.verify().await.unwrap().is_empty());
    stocked.world.finish();
}

#[tokio::test]
async fn a_store_that_is_cleared_away_is_made_again() {
    let stocked = Stocked::with(&["one"]).await;
    drop(stocked.fetch("one").await);
    fs::remove_dir_all(stocked.world.client().store_dir()).unwrap();
    stocked.fetch("one").await;
    fs::remove_dir(stocked.world.client().store_dir().join("v1/locks")).unwrap();
    stocked.fetch("one").await;
    stocked.world.finish();
}

#[tokio::test]
async fn images_are_unpacked_where_the_program_says() {
    let folder = tempfile::tempdir().unwrap();
    let tmp = folder.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let world = World::with(|builder| builder.tmp_dir(&tmp)).await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "one:1");
    let seen = Arc::new(AtomicBool::new(false));
    let (seeing, within) = (Arc::clone(&seen), tmp.clone());
    let image = world.client().image(registry.reference("one:1")).no_https();
    let image = image.on_progress(move |progress| {
        if progress.phase == Phase::Compressing {
            let mut own = fs::read_dir(&within).unwrap();
            let work = own.next().unwrap().unwrap().path();
            seeing.store(!is_empty(&work), Ordering::SeqCst);
        }
    });
    image.await.unwrap();
    assert!(seen.load(Ordering::SeqCst));
    let mut own = fs::read_dir(&tmp).unwrap();
    assert!(is_empty(&own.next().unwrap().unwrap().path()));
    world.finish();
}

#[tokio::test]
async fn what_a_killed_build_left_of_other_users_is_removed() {
    let world = World::new().await;
    world.client().store().list().await.unwrap();
    let left = world.client().store_dir().join("v1/work/work-dead");
    fs::create_dir(&left).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    let mut make = std::process::Command::new(if is_root { "env" } else { "unshare" });
    if !is_root {
        make.args(["--user", "--map-root-user", "--map-auto"]);
    }
    let status = make
        .args([
            "sh",
            "-c",
            "mkdir d && touch d/f && chown 5:5 d d/f && chmod 700 d",
        ])
        .current_dir(&left)
        .status();
    assert!(status.unwrap().success());
    if !is_root {
        assert!(
            fs::read_dir(left.join("d")).is_err(),
            "it is somebody else's"
        );
    }
    world.client().store().prune(Prune::new()).await.unwrap();
    assert!(!left.exists());
    world.finish();
}
