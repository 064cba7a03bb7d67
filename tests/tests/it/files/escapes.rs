//! Links that lead out of where something is copied to.

use std::fs;
use std::os::unix::fs::symlink;

use apptainer::files::FilesError;

use super::{Alone, local_names, make, names};

#[tokio::test]
async fn nothing_is_written_through_a_link_on_the_host() {
    let alone = Alone::new().await;
    let files = alone.files();
    let precious = alone.path("precious");
    make(&precious.join("file"), "precious", 0o644, 0);
    let out = alone.path("out");
    fs::create_dir(&out).unwrap();
    symlink(&precious, out.join("dir")).unwrap();
    symlink(precious.join("file"), out.join("file")).unwrap();
    symlink(&precious, out.join("whole")).unwrap();
    alone
        .shell("mkdir -p /files-test/dir; echo evil | tee /files-test/dir/file > /files-test/file")
        .await;
    let error = files.download("/files-test", &out).await.unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    let error = files
        .download("/files-test", out.join("whole"))
        .await
        .unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    // A file takes the link's place.
    files
        .download("/files-test/file", out.join("file"))
        .await
        .unwrap();
    assert_eq!(fs::read(out.join("file")).unwrap(), b"evil\n");
    assert!(!out.join("file").is_symlink());
    assert_eq!(fs::read(precious.join("file")).unwrap(), b"precious");
    assert_eq!(local_names(&precious), ["file"]);
    alone.finish().await;
}

#[tokio::test]
async fn links_in_a_container_are_copied_and_not_what_they_lead_to() {
    let alone = Alone::new().await;
    let files = alone.files();
    let secret = alone.path("secret");
    make(&secret, "secret", 0o644, 0);
    let script = format!(
        "mkdir /files-test; cd /files-test; ln -s {} host; ln -s /etc/passwd abs; ln -s ../../../../../../etc up; ln -s / root",
        secret.display()
    );
    alone.shell(&script).await;
    let back = alone.path("back");
    let report = files.download("/files-test", &back).await.unwrap();
    assert_eq!((report.files, report.symlinks), (0, 4));
    assert_eq!(fs::read_link(back.join("host")).unwrap(), secret);
    assert_eq!(
        fs::read_link(back.join("root")).unwrap(),
        std::path::Path::new("/")
    );
    // And the other way round.
    let report = files.upload(&back, "/again").await.unwrap();
    assert_eq!((report.files, report.symlinks), (0, 4));
    assert_eq!(
        alone.shell("readlink /again/up").await,
        "../../../../../../etc\n"
    );
    alone.finish().await;
}

#[tokio::test]
async fn nothing_is_written_through_a_link_in_the_container() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    make(&source.join("dir/file"), "evil", 0o644, 0);
    alone
        .shell(
            "mkdir -p /precious /files-test; echo precious > /precious/file; ln -s /precious /files-test/dir",
        )
        .await;
    let error = files.upload(&source, "/files-test").await.unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    assert_eq!(names(&files, "/precious").await, ["file"]);
    assert_eq!(
        files.read("/precious/file").await.unwrap(),
        &b"precious\n"[..]
    );
    alone.finish().await;
}
