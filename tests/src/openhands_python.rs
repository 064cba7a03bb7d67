//! Where OpenHands' Python SDK is.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has OpenHands' SDK.
///
/// # Panics
///
/// When it has not been installed.
pub fn openhands_python() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/openhands-paths");
    let output = Command::new("bash").arg(script).output();
    let output = output.expect("there is a shell");
    let paths = String::from_utf8_lossy(&output.stdout);
    let python = paths
        .lines()
        .find_map(|line| line.strip_prefix("OPENHANDS_PYTHON="));
    let python = python.map(PathBuf::from);
    python.expect("the OpenHands SDK is installed: scripts/setup --openhands does that")
}
