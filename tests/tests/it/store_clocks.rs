//! Clocks that were set, and stores from before.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apptainer::image::{Form, Prune, PullPolicy};
use fixtures::{Login, Registry, World, busybox_archive};

use super::store_trouble::{entries, large_archive, says_hello};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Notes that all names were asked for then.
fn set_asked(store: &Path, when: SystemTime) {
    let millis = when.duration_since(UNIX_EPOCH).unwrap().as_millis();
    for path in entries(&store.join("v1/names")) {
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["asked"] = u64::try_from(millis).unwrap().into();
        fs::write(&path, record.to_string()).unwrap();
    }
}

#[tokio::test]
async fn an_answer_from_a_time_to_come_is_asked_for_again() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let get = || world.client().image(&reference).no_https();
    let first = get().await.unwrap().digest().unwrap().to_owned();
    registry.push(&large_archive(world.folder(), 1000), "busybox:1");
    for policy in [PullPolicy::Always, PullPolicy::default()] {
        set_asked(world.client().store_dir(), SystemTime::now() + YEAR);
        let image = get().policy(policy).await.unwrap();
        assert_ne!(image.digest(), Some(&*first), "{policy:?}");
        says_hello(&image).await;
    }
    // Its own time counts from now on.
    let requests = registry.requests("/v2/");
    get().await.unwrap();
    assert_eq!(registry.requests("/v2/"), requests);
    // And what was asked long ago is asked again.
    set_asked(world.client().store_dir(), UNIX_EPOCH);
    get().await.unwrap();
    assert!(registry.requests("/v2/") > requests);
    world.finish();
}

#[tokio::test]
async fn times_that_cannot_be_do_not_keep_images_nor_lose_them() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let get = || world.client().image(&reference).no_https();
    drop(get().await.unwrap());
    let store = world.client().store();
    let root = world.client().store_dir().join("v1");
    let images = store.list().await.unwrap();
    let entry = |path: &Path| path.parent().unwrap().join("entry.json");
    let set = |path: &Path, time| File::options().write(true).open(path)?.set_modified(time);
    let day = || Prune::new().unused_for(Duration::from_secs(24 * 3600));
    for image in &images {
        set(&entry(&image.path), SystemTime::now() + YEAR).unwrap();
    }
    assert!(store.prune(day()).await.unwrap().removed.is_empty());
    // Used, it has a time of now again.
    drop(get().await.unwrap());
    let listed = store.list().await.unwrap();
    let sif = listed.iter().find(|image| image.form == Form::Sif);
    assert!(sif.unwrap().last_used <= SystemTime::now());
    for image in &images {
        set(&entry(&image.path), UNIX_EPOCH).unwrap();
    }
    let left = root.join("blobs/sha256-left.part");
    fs::write(&left, "").unwrap();
    set(&left, SystemTime::now() + YEAR).unwrap();
    let prune = day().unfinished_for(Duration::ZERO);
    let removed = store.prune(prune).await.unwrap().removed;
    assert_eq!(removed.len(), images.len());
    assert!(!left.exists());
    says_hello(&get().await.unwrap()).await;
    world.finish();
}
