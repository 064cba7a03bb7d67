//! What `apptainer-sys` knows of Apptainer, against Apptainer itself: where it makes
//! no difference who runs it, and with what rights.
//!
//! Run by nextest.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod listings;
mod sif;
mod values;

use std::path::Path;
use std::process::Command;

/// What a run of `apptainer` prints.
fn apptainer(words: &[&str]) -> String {
    apptainer_with(words, &[])
}

/// The same with variables set.
fn apptainer_with(words: &[&str], environment: &[(&str, &Path)]) -> String {
    let output = Command::new("apptainer")
        .arg("--silent")
        .args(words)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
