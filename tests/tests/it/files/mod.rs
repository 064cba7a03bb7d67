//! Files in containers.

mod called_off;
mod changing;
mod errors;
mod escapes;
mod killed;
mod names;
mod resumed;
mod servers;
mod trees;
mod written;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use apptainer::instance::{Service, Spec, Supervisor};
use apptainer::sys::command::NoMount;
use apptainer::{Contain, Container, Files, Instance, Link};
use fixtures::World;

/// A container of each kind that has files, with a place in it to work in.
struct Containers {
    world: World,
    supervisor: Supervisor,
    service: Service,
    instance: Instance,
    link: Link,
}

impl Containers {
    async fn new() -> Self {
        let world = World::new().await;
        let supervisor = world.supervisor().await;
        let spec = writable(&world);
        let service = supervisor.start(&spec).await.unwrap();
        for folder in ["instance", "link"] {
            fs::create_dir(world.folder().join(folder)).unwrap();
        }
        let container = world.container().await;
        let bound = apart(container).bind(world.folder().join("instance"), "/data");
        let instance = bound.start().await.unwrap();
        let container = world.container().await;
        let bound = apart(container).bind(world.folder().join("link"), "/data");
        let link = bound.link().await.unwrap();
        Self {
            world,
            supervisor,
            service,
            instance,
            link,
        }
    }

    /// The files of each, and where to work.
    fn each(&self) -> [(Files, PathBuf); 3] {
        [
            (self.service.files(), "/files-test".into()),
            (self.instance.files(), "/data/work".into()),
            (self.link.files(), "/data/work".into()),
        ]
    }

    async fn finish(self) {
        self.service.stop().await.unwrap();
        drop((self.service, self.supervisor));
        self.instance.stop().await.unwrap();
        self.link.close().await.unwrap();
        self.world.finish();
    }
}

/// An instance that can be written to, and sees nothing of the host that is.
fn writable(world: &World) -> Spec {
    let spec = world.spec().temporary_overlay();
    spec.no_mount(NoMount::Cwd).no_mount(NoMount::Home)
}

/// A container that sees nothing of the host where the tests remove things.
fn apart(container: Container) -> Container {
    container.contain(Contain::Files)
}

/// An instance alone, which can be written to.
struct Alone {
    world: World,
    supervisor: Supervisor,
    service: Service,
}

impl Alone {
    async fn new() -> Self {
        let world = World::new().await;
        let supervisor = world.supervisor().await;
        let spec = writable(&world);
        let service = supervisor.start(&spec).await.unwrap();
        Self {
            world,
            supervisor,
            service,
        }
    }

    fn files(&self) -> Files {
        self.service.files()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    /// What a shell in it says.
    async fn shell(&self, script: &str) -> String {
        let mut command = self.service.command("sh").unwrap();
        let output = command.args(["-c", script]).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout.into()).unwrap()
    }

    async fn finish(self) {
        self.service.stop().await.unwrap();
        drop((self.service, self.supervisor));
        self.world.finish();
    }
}

/// What is below a directory of the host's: path, kind and permissions, time, and what is in it.
type Tree = Vec<(PathBuf, u32, (i64, i64), Vec<u8>)>;

fn tree(root: &Path) -> Tree {
    fn add(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let content = if found.is_dir() {
                add(root, &path, tree);
                Vec::new()
            } else if found.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if found.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let name = path.strip_prefix(root).unwrap().to_owned();
            let time = (found.mtime(), found.mtime_nsec());
            tree.push((name, found.mode(), time, content));
        }
    }
    let mut tree = Vec::new();
    add(root, root, &mut tree);
    tree.sort();
    tree
}

/// A file of the host's with these permissions, changed at this second.
fn make(path: &Path, content: impl AsRef<[u8]>, mode: u32, second: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(second, 123_456_789);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Bytes that are not the same everywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..length).map(next).collect()
}

/// The names in a directory of the container's.
async fn names(files: &Files, path: &str) -> Vec<String> {
    let listed = files.list(path).await.unwrap();
    let names = listed.into_iter().map(|entry| entry.name);
    names.map(|name| name.into_string().unwrap()).collect()
}

/// The names in a directory of the host's.
fn local_names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
