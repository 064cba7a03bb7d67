//! A configuration of one's own, with a supervisor, and `apptainer instance` by hand.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apptainer::Apptainer;
use apptainer::instance::{Spec, Supervisor};

/// A directory with it. Dropped, it ends what still runs there: supervisors are to be dropped
/// before.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    client: Apptainer,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let client = Apptainer::builder()
            .config_dir(folder.path().join("config"))
            .store_dir(folder.path().join("store"))
            .build()
            .await
            .expect("Apptainer is installed");
        Self { folder, client }
    }

    /// One that starts so many at the same time.
    pub(crate) async fn supervisor(&self, concurrency: usize) -> Supervisor {
        let builder = self.client.supervisor("bench").concurrency(concurrency);
        let builder = builder.runtime_dir(self.folder.path().join("runtime"));
        builder.open().await.expect("there is no other")
    }

    /// An image whose startscript sleeps.
    pub(crate) fn sleeping_image(&self) -> PathBuf {
        let [root, image] = ["root", "sleeping.sif"].map(|name| self.folder.path().join(name));
        let build = |words: &[&Path]| {
            let mut apptainer = Command::new("apptainer");
            apptainer.args(["--silent", "build"]).args(words);
            let status = apptainer.status().expect("it is installed");
            assert!(status.success(), "{apptainer:?}");
        };
        build(&[Path::new("--sandbox"), &root, &fixtures::busybox_sif()]);
        let script = root.join(".singularity.d/startscript");
        fs::write(&script, "#!/bin/sh\nexec sleep 10000\n").expect("it is ours to write to");
        fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("it is ours");
        build(&[&image, &root]);
        image
    }

    /// `apptainer instance` with these words, waited for.
    pub(crate) fn by_hand(&self, words: &[&str]) {
        let status = self.apptainer(words).status().expect("it is installed");
        assert!(status.success(), "{words:?}: {status}");
    }

    fn apptainer(&self, words: &[&str]) -> Command {
        let mut apptainer = Command::new("apptainer");
        apptainer
            .args(["--silent", "instance"])
            .args(words)
            .env("APPTAINER_CONFIGDIR", self.folder.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        apptainer
    }

    /// Whether a supervisor has something here still.
    fn is_supervised(&self) -> bool {
        let supervisors = self.folder.path().join("config/apptainer-rs/supervisors");
        let hosts = fs::read_dir(supervisors).into_iter().flatten().flatten();
        let journals = hosts.flat_map(|host| fs::read_dir(host.path()).into_iter().flatten());
        let mut entries = journals
            .flatten()
            .flat_map(|journal| fs::read_dir(journal.path()).into_iter().flatten().flatten());
        entries.any(|entry| entry.path().extension().is_some_and(|end| end == "json"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        const LIMIT: Duration = Duration::from_secs(60);
        let deadline = Instant::now() + LIMIT;
        // What is dropped with a supervisor is ended by threads.
        while self.is_supervised() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stop = self.apptainer(&["stop", "--all", "--force"]);
        // It fails when there is none.
        let _ = stop.stderr(Stdio::null()).status();
    }
}

/// An instance of the image at this path.
pub(crate) fn spec(image: &Path) -> Spec {
    Spec::new(text(image))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("it is below a plain path")
}
