//! Finding Apptainer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use apptainer::Apptainer;
use apptainer::sys::{InstallError, Version, feature};

/// A program that answers `--version` with `answer`.
fn pretender(folder: &Path, name: &str, answer: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn found(program: &Path) -> Result<Apptainer, InstallError> {
    Apptainer::builder().program(program).build().await
}

#[tokio::test]
async fn the_installed_one_is_found_and_new_enough() {
    let apptainer = Apptainer::discover().await.unwrap();
    assert!(apptainer.version() >= feature::OLDEST);
    assert!(apptainer.install().program().is_absolute());
    let config = apptainer.install().build_config().unwrap();
    assert!(config.libexec().unwrap().is_dir());
}

#[tokio::test]
async fn one_that_is_not_there_is_a_clear_error() {
    let error = found(Path::new("/nosuch/apptainer")).await.unwrap_err();
    assert!(matches!(error, InstallError::Unusable { .. }));
    assert!(error.to_string().contains("/nosuch/apptainer"), "{error}");
}

#[tokio::test]
async fn one_that_is_too_old_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let old = pretender(folder.path(), "apptainer", "apptainer version 1.1.9");
    let error = found(&old).await.unwrap_err();
    assert!(
        matches!(&error, InstallError::TooOld { found, .. } if *found == Version::new(1, 1, 9))
    );
    let text = error.to_string();
    assert!(text.contains("1.1.9") && text.contains("1.2.0"), "{text}");
}

#[tokio::test]
async fn a_singularity_counts_only_when_it_is_apptainer_underneath() {
    let folder = tempfile::tempdir().unwrap();
    let ce = pretender(folder.path(), "singularity", "singularity-ce version 4.1.0");
    assert!(matches!(
        found(&ce).await,
        Err(InstallError::NotApptainer { .. })
    ));
    let link = pretender(
        folder.path(),
        "singularity",
        "apptainer version 1.3.4-1.el9",
    );
    assert_eq!(found(&link).await.unwrap().version(), Version::new(1, 3, 4));
}

#[tokio::test]
async fn one_that_prints_nothing_of_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let silent = pretender(folder.path(), "apptainer", "");
    assert!(matches!(
        found(&silent).await,
        Err(InstallError::NotApptainer { .. })
    ));
}
