//! What is not to be there afterwards.

use std::fs;
use std::path::Path;

use fixtures::World;

use super::workers::prefix;

/// All that is left when everybody has gone.
pub(super) fn of(world: &World) -> Vec<String> {
    let mut left = world.left();
    let folder = world.folder();
    left.extend(in_folder(&folder.join("tmp")));
    left.extend(
        in_folder(&folder.join("config/apptainer-rs/supervisors"))
            .into_iter()
            .filter(
                // The host's own is there for the next.
                |host| !in_folder(Path::new(host)).is_empty(),
            ),
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let here = folder.display().to_string();
    let mounts = mounts.lines().filter(|line| line.contains(&here));
    left.extend(mounts.map(|line| format!("mount {line}")));
    groups(Path::new("/sys/fs/cgroup"), &mut left);
    left
}

/// What is left of an instance of this name in these folders of ours and Apptainer's, which it
/// was told that there is nothing left of.
pub(super) fn of_instance(folder: &Path, name: &str) -> Vec<String> {
    let mut left = in_folder(&folder.join("runtime"));
    for host in in_folder(&folder.join("config/apptainer-rs/supervisors")) {
        for supervisor in in_folder(Path::new(&host)) {
            left.extend(in_folder(Path::new(&supervisor)));
        }
    }
    for host in in_folder(&folder.join("config/instances/app")) {
        for user in in_folder(Path::new(&host)) {
            left.extend(in_folder(Path::new(&user)));
        }
    }
    let is_of = |path: &String| path.rsplit('/').next().unwrap().starts_with(name);
    left.retain(is_of);
    left
}

/// The groups of our instances, below this one.
fn groups(folder: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&format!("apptainer-rs-{}", prefix())) {
            left.push(format!("group {}", entry.path().display()));
        } else {
            groups(&entry.path(), left);
        }
    }
}

fn in_folder(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().display().to_string());
    paths.collect()
}
