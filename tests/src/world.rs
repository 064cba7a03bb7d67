//! A place to work in that tells of leaks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use apptainer::agent_server::AgentServerBuilder;
use apptainer::instance::{Privileges, Spec, Supervisor};
use apptainer::sys::process::{Pid, Process, State};
use apptainer::workspace::{Source, WorkspaceBuilder};
use apptainer::{Apptainer, Container, Image, Rootfs};

/// A client with a store and a configuration of its own.
///
/// [`finish`](Self::finish) checks that nothing is left: no process that the test
/// started, at any remove, no record of an instance, no unfinished work in the
/// store. It takes in orphans as init would, so it must be alone in its process:
/// `cargo nextest run` sees to that.
#[derive(Debug)]
pub struct World {
    client: Apptainer,
    folder: tempfile::TempDir,
}

impl World {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When Apptainer is not installed, or not run by nextest.
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// The same with other settings.
    ///
    /// # Panics
    ///
    /// When Apptainer is not installed, or not run by nextest.
    pub async fn with(settings: impl FnOnce(apptainer::Builder) -> apptainer::Builder) -> Self {
        assert!(
            std::env::var_os("NEXTEST").is_some(),
            "these tests need a process each: use cargo nextest run"
        );
        nix::sys::prctl::set_child_subreaper(true).expect("Linux has had it since 3.4");
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let builder = Apptainer::builder()
            .config_dir(folder.path().join("config"))
            .store_dir(folder.path().join("store"));
        let client = settings(builder).build().await;
        let client = client.expect("Apptainer is installed: scripts/setup does that");
        Self { client, folder }
    }

    /// The client.
    pub fn client(&self) -> &Apptainer {
        &self.client
    }

    /// A directory for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The busybox image.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub async fn busybox(&self) -> Image {
        let image = self.client.image(crate::busybox_sif()).await;
        image.expect("the image is whole")
    }

    /// Whether a program serves images through FUSE: neither does the kernel mount them, as for
    /// root, nor are they extracted. Says so where that is not so.
    ///
    /// # Panics
    ///
    /// When the busybox image cannot be made.
    pub async fn serves_images(&self) -> bool {
        let rootfs = self.busybox().await.rootfs();
        if rootfs != Rootfs::Fuse {
            eprintln!("not tested: it takes FUSE, and this is {rootfs:?}");
        }
        rootfs == Rootfs::Fuse
    }

    /// A container of the busybox image, one that root may start too.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub async fn container(&self) -> Container {
        startable(self.busybox().await.container())
    }

    /// An instance of the busybox image, one that root may start too.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn spec(&self) -> Spec {
        self.spec_of(&crate::busybox_sif())
    }

    /// A workspace on the busybox image, one that root may start too.
    ///
    /// # Panics
    ///
    /// When the image cannot be made.
    pub fn workspace(&self) -> WorkspaceBuilder {
        self.workspace_of(crate::busybox_sif())
    }

    /// The same on another image.
    pub fn workspace_of(&self, source: impl Into<Source>) -> WorkspaceBuilder {
        let builder = self.client.workspace(source);
        builder
            .runtime_dir(self.folder().join("runtime"))
            .fakeroot(false)
            .with_spec(startable_spec)
    }

    /// OpenHands' agent server, one that root may start too.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    pub fn agent_server(&self) -> AgentServerBuilder {
        let builder = self.client.agent_server(crate::OpenHands::find().image());
        builder
            .runtime_dir(self.folder().join("runtime"))
            .fakeroot(false)
            .with_spec(startable_spec)
    }

    /// The same of the image at this path.
    ///
    /// # Panics
    ///
    /// When the path is not text.
    pub fn spec_of(&self, image: &Path) -> Spec {
        let image = image.to_str().expect("it is made below a plain path");
        startable_spec(Spec::new(image))
    }

    /// A supervisor with a folder of its own.
    ///
    /// # Panics
    ///
    /// When it cannot be opened.
    pub async fn supervisor(&self) -> Supervisor {
        let builder = self.client.supervisor("test");
        let builder = builder.runtime_dir(self.folder().join("runtime"));
        builder.open().await.expect("there is no other")
    }

    /// Checks that nothing is left.
    ///
    /// # Panics
    ///
    /// When something is.
    pub fn finish(self) {
        let leaks = self.left();
        assert!(leaks.is_empty(), "left behind: {leaks:#?}");
    }

    /// What is left once all has had its time to end.
    ///
    /// # Panics
    ///
    /// When `/proc` cannot be read.
    pub fn left(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let leaks = self.leaks();
            if leaks.is_empty() || Instant::now() >= deadline {
                return leaks;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn leaks(&self) -> Vec<String> {
        let mut leaks: Vec<String> = descendants()
            .into_iter()
            .map(|process| format!("process {process:?}"))
            .collect();
        let places = [
            "store/v1/work",
            "config/instances/app",
            "config/apptainer-rs/starting",
            "config/apptainer-rs/supervisors",
            "runtime",
        ];
        for place in places {
            let files = files_below(&self.folder().join(place));
            // It is there for the next.
            let is_left = |path: &&PathBuf| !path.file_name().is_some_and(is_agent);
            let left = files.iter().filter(is_left);
            leaks.extend(left.map(|path| path.display().to_string()));
        }
        leaks
    }
}

/// Whether Apptainer builds images by definitions here: as root it takes all capabilities. Says so
/// where that is not so.
///
/// # Panics
///
/// When `/proc` cannot be read.
pub fn builds_images() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("it is there");
    let last: u32 = last.trim().parse().expect("it is a number");
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let permitted = permitted.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    let has_all = permitted == Some((1 << (last + 1)) - 1);
    if is_root && !has_all {
        eprintln!("not tested: root lacks some of the capabilities that Apptainer builds with");
    }
    has_all || !is_root
}

/// Root has all capabilities in a container only where it has them outside, which
/// is not so on every machine.
fn startable(container: Container) -> Container {
    if nix::unistd::geteuid().is_root() {
        container.no_privileges()
    } else if is_fakeroot() {
        container.fakeroot()
    } else {
        container
    }
}

/// The same of an instance.
fn startable_spec(spec: Spec) -> Spec {
    if nix::unistd::geteuid().is_root() {
        spec.privileges(Privileges::Drop)
    } else if is_fakeroot() {
        spec.fakeroot()
    } else {
        spec
    }
}

/// Whether containers' users are to be root inside.
fn is_fakeroot() -> bool {
    std::env::var_os("WITH_FAKEROOT").is_some()
}

/// What this process started, at any remove, but for registries and other servers, which are
/// ours.
///
/// Ended processes that were orphaned are left as zombies: as init would, somebody
/// has to wait for them, and that cannot be done here without taking children
/// from the code under test.
fn descendants() -> Vec<Process> {
    let me = Pid::try_from(std::process::id()).expect("pids are small");
    let table = Process::all().expect("/proc is readable");
    let mut found = Vec::new();
    let mut parents = vec![me];
    while let Some(parent) = parents.pop() {
        for process in table.iter().filter(|process| process.parent == parent) {
            let servers = ["docker-regist", "openssl"];
            let is_ours = servers.iter().any(|name| process.name.starts_with(name));
            if process.state != State::Zombie && !is_ours {
                parents.push(process.pid);
                found.push(process.clone());
            }
        }
    }
    found
}

fn is_agent(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"agent-")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
