//! OpenHands, as `scripts/setup --openhands` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where OpenHands' agent server and its Python SDK are.
#[derive(Debug, Clone)]
pub struct OpenHands {
    sif: PathBuf,
    sandbox: PathBuf,
    python: PathBuf,
}

impl OpenHands {
    /// Finds them.
    ///
    /// # Panics
    ///
    /// When they are not installed.
    pub fn find() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/openhands-paths");
        let output = Command::new(script).output();
        let output = output.expect("bash is installed");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "run `scripts/setup --openhands`: {told}"
        );
        let text = String::from_utf8(output.stdout).expect("paths are text");
        let path = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            let found = pairs.find(|(other, _)| *other == name);
            PathBuf::from(found.expect("the script tells all of them").1)
        };
        Self {
            sif: path("OPENHANDS_SIF"),
            sandbox: path("OPENHANDS_SANDBOX"),
            python: path("OPENHANDS_PYTHON"),
        }
    }

    /// The agent server, as whatever is started soonest: the directory, whose owner is not root.
    pub fn image(&self) -> &Path {
        if nix::unistd::geteuid().is_root() {
            &self.sif
        } else {
            &self.sandbox
        }
    }

    /// The agent server as a SIF file.
    pub fn sif(&self) -> &Path {
        &self.sif
    }

    /// Python with the SDK and its workspaces.
    pub fn python(&self) -> &Path {
        &self.python
    }
}
