//! Supervisors whose disk is full.

use std::path::{Path, PathBuf};

use apptainer::instance::Supervisor;
use fixtures::World;

use super::WAIT;
use crate::store_trouble::{FOLDER, fill, run_in_mounts, variable};

#[tokio::test]
async fn a_full_disk_is_an_error_that_leaves_nothing_and_keeps_nobody_from_stopping() {
    let folder = tempfile::tempdir().unwrap();
    run_in_mounts(
        "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\"",
        folder.path(),
        "supervisor::full_disk::on_a_small_disk",
        "",
    );
}

/// Files below a folder, but for what is there for the next.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path())
        } else {
            vec![entry.path()]
        }
    });
    let is_kept = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "lock" || name.starts_with("agent-")
    };
    files.filter(|path| !is_kept(path)).collect()
}

async fn supervisor(world: &World, folder: &Path) -> Supervisor {
    let builder = world.client().supervisor("test");
    builder
        .runtime_dir(folder.join("runtime"))
        .open()
        .await
        .unwrap()
}

/// Not a test by itself: it needs the mount.
#[tokio::test]
#[ignore = "run by another test, in mounts of its own"]
async fn on_a_small_disk() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    let world = World::with(|builder| builder.config_dir(folder.join("config"))).await;
    let supervisor = supervisor(&world, &folder).await;
    let spec = world.spec().temporary_overlay().command(WAIT);
    let filler = folder.join("filler");
    let mut failed = 0;
    for free in [0, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10] {
        fill(&filler, free);
        match supervisor.start(&spec).await {
            Ok(service) => {
                // There is room for no more, and no need.
                fill(&filler, 0);
                service.pause().await.unwrap();
                service.resume().await.unwrap();
                service.stop().await.unwrap();
            }
            Err(_) => failed += 1,
        }
        for place in ["runtime", "config/instances", "config/apptainer-rs"] {
            let left = files(&folder.join(place));
            assert!(left.is_empty(), "{free} bytes free: {left:?}");
        }
    }
    assert!(failed > 0, "there was always room");
    std::fs::remove_file(&filler).unwrap();
    let service = supervisor.start(&spec).await.unwrap();
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}
