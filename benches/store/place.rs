//! A store of one's own, and an `apptainer` that is counted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use apptainer::Apptainer;

/// A directory with a store and a configuration.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What stands before the real program, and what it writes.
const COUNTED: &str = "apptainer";
const LOG: &str = "calls";

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let counted = folder.path().join(COUNTED);
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>'{}'\nexec apptainer \"$@\"\n",
            folder.path().join(LOG).display()
        );
        fs::write(&counted, script).expect("it is ours to write to");
        fs::set_permissions(&counted, Permissions::from_mode(0o755)).expect("it is ours");
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How often a program has converted an image here.
    pub(crate) fn conversions(&self) -> usize {
        let calls = fs::read_to_string(self.path().join(LOG)).expect("its version was asked for");
        let is_conversion = |call: &&str| {
            let mut words = call.split(' ');
            words.any(|word| word == "pull" || word == "build")
        };
        calls.lines().filter(is_conversion).count()
    }
}

/// A client of a place, whose `apptainer` is counted, or is not.
pub(crate) async fn client(folder: &Path, is_counted: bool) -> Apptainer {
    let mut builder = Apptainer::builder()
        .config_dir(folder.join("config"))
        .store_dir(folder.join("store"));
    if is_counted {
        builder = builder.program(folder.join(COUNTED));
    }
    builder.build().await.expect("Apptainer is installed")
}
