//! Errors that say what was in the way.

use std::path::Path;

use apptainer::files::FilesError;
use fixtures::World;

use super::{Alone, local_names, make};
use crate::store_trouble::{FOLDER, run_in_mounts, variable};

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let alone = Alone::new().await;
    let files = alone.files();
    alone
        .shell("mkdir -p /files-test/dir; echo 1 > /files-test/file; mkfifo /files-test/pipe; ln -s loop /files-test/loop")
        .await;
    let missing = files.read("/files-test/none").await.unwrap_err();
    assert!(matches!(missing, FilesError::NotFound { .. }), "{missing}");
    assert_eq!(
        missing.location().unwrap().path(),
        Path::new("/files-test/none")
    );
    assert_eq!(missing.errno(), Some(nix::errno::Errno::ENOENT as i32));
    let missing = files.write("/files-test/none/file", "").await.unwrap_err();
    assert!(matches!(missing, FilesError::NotFound { .. }), "{missing}");
    let directory = files.read("/files-test/dir").await.unwrap_err();
    assert!(
        matches!(directory, FilesError::IsADirectory { .. }),
        "{directory}"
    );
    let directory = files.write("/files-test/dir", "").await.unwrap_err();
    assert!(
        matches!(directory, FilesError::IsADirectory { .. }),
        "{directory}"
    );
    let file = files.list("/files-test/file").await.unwrap_err();
    assert!(matches!(file, FilesError::NotADirectory { .. }), "{file}");
    let file = files.write("/files-test/file/below", "").await.unwrap_err();
    assert!(matches!(file, FilesError::NotADirectory { .. }), "{file}");
    let file = files
        .make_dir_all("/files-test/file/below")
        .await
        .unwrap_err();
    assert!(matches!(file, FilesError::NotADirectory { .. }), "{file}");
    // Nobody is at its other end, and nobody waits for that.
    let pipe = files.read("/files-test/pipe").await.unwrap_err();
    assert!(matches!(pipe, FilesError::Special { .. }), "{pipe}");
    let pipe = files.write("/files-test/pipe", "").await.unwrap_err();
    assert!(matches!(pipe, FilesError::Special { .. }), "{pipe}");
    let endless = files.write("/files-test/loop", "").await.unwrap_err();
    assert!(matches!(endless, FilesError::Io { .. }), "{endless}");
    for path in ["", "nul\0", &"x".repeat(4096)] {
        let error = files.read(path).await.unwrap_err();
        assert!(matches!(error, FilesError::Path { .. }), "{error}");
    }
    // None of it has been changed.
    assert_eq!(
        alone.shell("ls -A /files-test; cat /files-test/file").await,
        "dir\nfile\nloop\npipe\n1\n"
    );
    alone.finish().await;
}

#[tokio::test]
async fn an_image_that_is_only_read_says_so() {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let files = link.files();
    assert!(
        files
            .read("/etc/passwd")
            .await
            .unwrap()
            .starts_with(b"root:")
    );
    let source = world.folder().join("source");
    make(&source, "new", 0o644, 0);
    // Apptainer's own session directory is over `/etc`, in some modes.
    for error in [
        files.write("/bin/new", "").await.unwrap_err(),
        files.make_dir("/bin/new").await.unwrap_err(),
        files.upload(&source, "/bin/new").await.unwrap_err(),
        files.upload(world.folder(), "/bin/new").await.unwrap_err(),
        files.remove_file("/bin/busybox").await.unwrap_err(),
    ] {
        let is_told = matches!(
            error,
            FilesError::ReadOnly { .. } | FilesError::PermissionDenied { .. }
        );
        assert!(is_told, "{error:?}");
    }
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_not_permitted_is_told() {
    let alone = Alone::new().await;
    if nix::unistd::geteuid().is_root() || std::env::var_os("WITH_FAKEROOT").is_some() {
        eprintln!("not tested: root may do it");
        return alone.finish().await;
    }
    let files = alone.files();
    alone.shell("mkdir -p /files-test/shut/in; echo 1 > /files-test/secret; chmod 0 /files-test/secret; chmod 500 /files-test/shut").await;
    for error in [
        files.read("/files-test/secret").await.unwrap_err(),
        files.write("/files-test/shut/new", "").await.unwrap_err(),
        files.remove_all("/files-test/shut").await.unwrap_err(),
    ] {
        assert!(
            matches!(error, FilesError::PermissionDenied { .. }),
            "{error:?}"
        );
    }
    alone.shell("chmod 700 /files-test/shut").await;
    alone.finish().await;
}

#[tokio::test]
async fn a_full_file_system_is_an_error_that_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run_in_mounts(
        "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\"",
        folder.path(),
        "files::errors::on_a_full_file_system",
        "",
    );
}

/// Not a test by itself: it needs the mount.
#[tokio::test]
#[ignore = "run by another test, in mounts of its own"]
async fn on_a_full_file_system() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    let world = World::new().await;
    let source = world.folder().join("source");
    make(&source.join("large"), vec![1; 8 << 20], 0o644, 0);
    let container = world.container().await.bind(&folder, "/data");
    let link = container.link().await.unwrap();
    let files = link.files();
    files.write("/data/file", "old").await.unwrap();
    let content = vec![0; 8 << 20];
    for error in [
        files
            .write("/data/file", content.clone())
            .await
            .unwrap_err(),
        files
            .upload(source.join("large"), "/data/file")
            .await
            .unwrap_err(),
        files.upload(&source, "/data/tree").await.unwrap_err(),
        files
            .upload_from(&content[..], "/data/file")
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, FilesError::NoSpace { .. }), "{error:?}");
        assert_eq!(files.read("/data/file").await.unwrap(), &b"old"[..]);
        assert_eq!(local_names(&folder), ["file"]);
    }
    // The same on the host.
    let far = world.folder().join("far");
    std::fs::create_dir(&far).unwrap();
    let other = world
        .container()
        .await
        .bind(&far, "/data")
        .link()
        .await
        .unwrap();
    let files = other.files();
    files.upload(&source, "/data/tree").await.unwrap();
    for error in [
        files
            .download("/data/tree/large", folder.join("file"))
            .await
            .unwrap_err(),
        files
            .download("/data/tree", folder.join("tree"))
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, FilesError::NoSpace { .. }), "{error:?}");
        assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"old");
        assert_eq!(local_names(&folder), ["file"]);
    }
    other.close().await.unwrap();
    link.close().await.unwrap();
    world.finish();
}
