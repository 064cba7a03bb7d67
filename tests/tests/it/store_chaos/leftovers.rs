//! What is not to be there afterwards.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use apptainer::Apptainer;
use apptainer::image::Prune;

/// What is in the store that no entry needs, when it has been pruned of what is unfinished, and
/// what was stopped in the middle has had its time to end.
pub(super) async fn after_pruning(client: &Apptainer, limit: Duration) -> Vec<String> {
    let root = client.store_dir().join("v1");
    let deadline = Instant::now() + limit;
    loop {
        let prune = Prune::new().unfinished_for(Duration::ZERO);
        client.store().prune(prune).await.unwrap();
        let left = not_needed(&root);
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // And it is said to be as large as it is.
    let usage = client.store().usage().await.unwrap();
    let sifs = files(&root.join("images"));
    let sifs = sifs.iter().filter(|path| path.ends_with("image.sif"));
    let blocks: u64 = sifs.map(|path| fs::metadata(path).unwrap().blocks()).sum();
    assert_eq!(usage.images, blocks * 512);
    assert_eq!(usage.unfinished, 0);
    Vec::new()
}

/// Files and directories that belong to no entry and are no record.
fn not_needed(root: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for folder in ["work", "blobs", "locks"] {
        left.extend(in_folder(&root.join(folder)));
    }
    let names = in_folder(&root.join("names"));
    let is_unfinished = |name: &String| Path::new(name).extension() != Some("json".as_ref());
    left.extend(names.into_iter().filter(is_unfinished));
    for form in ["images", "sandboxes"] {
        for entry in fs::read_dir(root.join(form)).unwrap() {
            let entry = entry.unwrap().path();
            let mut parts: Vec<_> = fs::read_dir(&entry)
                .unwrap()
                .map(|part| part.unwrap().file_name())
                .collect();
            parts.sort();
            if parts != ["entry.json", "image.sif"] && parts != ["entry.json", "root"] {
                left.push(format!("{}: {parts:?}", entry.display()));
            }
        }
    }
    let places = [
        "store.json",
        "names",
        "images",
        "sandboxes",
        "blobs",
        "locks",
        "work",
    ];
    let others = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let others = others.filter(|entry| !places.iter().any(|place| entry.file_name() == *place));
    left.extend(others.map(|entry| entry.path().display().to_string()));
    left
}

/// What is in a folder.
pub(super) fn in_folder(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().display().to_string());
    paths.collect()
}

/// What is mounted below a folder, or from a file there.
pub(super) fn mounts(folder: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = folder.display().to_string();
    let found = mounts.lines().filter(|line| line.contains(&folder));
    found.map(str::to_owned).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
