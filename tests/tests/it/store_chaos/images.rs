//! The images that are fetched, which share layers.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use apptainer::image::{Acquire, ImageError};
use apptainer::{Apptainer, Image};
use fixtures::{Login, Registry, World, busybox_archive};

/// An image, and what its file `/name` holds.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) reference: String,
    name: String,
}

/// What is in a registry and in archives.
pub(super) struct Images {
    all: Vec<Named>,
    _registry: Registry,
}

/// Bytes in the layers that the images do not share, which decide how long they take.
const SIZES: [(&str, u64); 5] = [
    ("one", 1 << 10),
    ("two", 1 << 20),
    ("three", 4 << 20),
    ("four", 8 << 20),
    ("archive", 1 << 20),
];

impl Images {
    pub(super) fn new(world: &World) -> Self {
        let registry = Registry::start(Login::None);
        let mut all = Vec::new();
        for (name, size) in SIZES {
            let layer = layer(world.folder(), name, size);
            let mut layers = busybox_archive().into_os_string();
            layers.push(":");
            layers.push(layer);
            let reference = if name == "archive" {
                archive(world.folder(), Path::new(&layers))
            } else {
                let image = format!("chaos/{name}:1");
                registry.push(Path::new(&layers), &image);
                registry.reference(&image)
            };
            let name = name.to_owned();
            all.push(Named { reference, name });
        }
        Self {
            all,
            _registry: registry,
        }
    }

    pub(super) fn all(&self) -> &[Named] {
        &self.all
    }

    /// For the environment of a program.
    pub(super) fn to_text(&self) -> String {
        let lines = self.all.iter();
        let lines: Vec<_> = lines
            .map(|image| format!("{} {}", image.name, image.reference))
            .collect();
        lines.join("\n")
    }
}

impl Named {
    pub(super) fn from_text(text: &str) -> Vec<Self> {
        let words = text.lines().filter_map(|line| line.split_once(' '));
        words
            .map(|(name, reference)| Self {
                reference: reference.to_owned(),
                name: name.to_owned(),
            })
            .collect()
    }

    pub(super) fn acquire(&self, client: &Apptainer) -> Acquire {
        client.image(&self.reference).no_https()
    }

    /// What a file made of `/name` and a word holds.
    pub(super) fn holds(&self, word: &str) -> String {
        format!("{}{word}", self.name)
    }

    /// Runs a command in it that tells whether it is this one.
    pub(super) async fn run(&self, image: &Image) -> Result<(), String> {
        let container = image.container();
        let output = container.command("cat").arg("/name").output().await;
        let output = output.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && said.trim() == self.name {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("{:?}: {said:?} {stderr}", output.status))
    }
}

/// An error that is no failure: what somebody else does may be in the way.
pub(super) fn is_expected(error: &ImageError) -> bool {
    matches!(error, ImageError::Offline { .. } | ImageError::InUse { .. })
}

/// Makes all images in a store look as if they had not been used for long: where it has leases,
/// others stay.
pub(super) fn age(store: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
    for form in ["images", "sandboxes"] {
        let entries = fs::read_dir(store.join("v1").join(form));
        for entry in entries.into_iter().flatten().flatten() {
            // It goes away meanwhile.
            if let Ok(file) = File::open(entry.path().join("entry.json")) {
                file.set_modified(long_ago).unwrap();
            }
        }
    }
}

/// A tar file with `/name`, and with bytes that cannot be compressed.
fn layer(folder: &Path, name: &str, size: u64) -> PathBuf {
    let root = folder.join(format!("layer-{name}"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("name"), name).unwrap();
    let random = File::open("/dev/urandom").unwrap();
    let mut filling = File::create(root.join("filling")).unwrap();
    std::io::copy(&mut random.take(size), &mut filling).unwrap();
    let path = root.with_extension("tar");
    let made = Command::new("tar")
        .args(["--owner=0", "--group=0", "-C"])
        .arg(&root)
        .arg("-cf")
        .arg(&path)
        .args(["name", "filling"])
        .status();
    assert!(made.unwrap().success());
    path
}

fn archive(folder: &Path, layers: &Path) -> String {
    let path = folder.join("archive.oci");
    let made = Command::new("skopeo")
        .args(["copy", "--quiet"])
        .arg(format!("tarball:{}", layers.display()))
        .arg(format!("oci-archive:{}:1", path.display()))
        .status();
    assert!(made.unwrap().success());
    format!("oci-archive:{}", path.display())
}
