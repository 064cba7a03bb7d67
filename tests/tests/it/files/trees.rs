//! Directories, there and back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apptainer::files::{FilesError, Kind, Progress, SpecialFiles};

use super::{Alone, Containers, make, names, noise, tree};

/// One with everything in it that is copied.
fn make_tree(root: &Path) {
    make(&root.join("empty"), "", 0o644, 10);
    make(&root.join("script"), "#!/bin/sh\n", 0o755, 20);
    make(&root.join("secret"), "s", 0o600, 30);
    make(&root.join("read-only"), "r", 0o444, 40);
    make(&root.join("large"), noise(2_000_000), 0o640, 50);
    make(&root.join("two\nlines"), "2", 0o644, 60);
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"odd\xff");
    let odd: &std::ffi::OsStr = odd;
    make(&root.join(odd), "odd", 0o644, 1 << 33);
    let mut deep = root.join("deep");
    for level in 0..60 {
        deep.push(format!("{level}"));
    }
    make(&deep.join("bottom"), "b", 0o644, 70);
    fs::create_dir_all(root.join("nothing/in it")).unwrap();
    symlink("script", root.join("link")).unwrap();
    symlink("/no/such/place", root.join("dangling")).unwrap();
    symlink("../..", root.join("deep/up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    make(&root.join("closed/inside"), "i", 0o400, 80);
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
}

fn open_tree(root: &Path) {
    let _ = fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755));
}

#[tokio::test]
async fn a_directory_comes_back_as_it_went() {
    let containers = Containers::new().await;
    let source = containers.world.folder().join("source");
    make_tree(&source);
    let expected = tree(&source);
    for (index, (files, work)) in containers.each().into_iter().enumerate() {
        let sent = files
            .upload(&source, work.join("made/for/it"))
            .await
            .unwrap();
        let back = containers.world.folder().join(format!("back{index}/into"));
        let got = files
            .download(work.join("made/for/it"), &back)
            .await
            .unwrap();
        assert_eq!(tree(&back), expected);
        assert_eq!(sent, got);
        assert_eq!(sent.files, 9);
        assert_eq!(sent.symlinks, 4);
        open_tree(&back);
        // It can be removed, whatever is closed in it, once that is open.
        files
            .set_mode(work.join("made/for/it/closed"), 0o755)
            .await
            .unwrap();
        files.remove_all(&work).await.unwrap();
    }
    open_tree(&source);
    containers.finish().await;
}

#[tokio::test]
async fn two_thousand_small_files_come_back_as_they_went() {
    let containers = Containers::new().await;
    let source = containers.world.folder().join("source");
    for number in 0..2000 {
        let path = source.join(format!("{}/{number}", number % 20));
        make(&path, format!("file {number}"), 0o644, number);
    }
    let expected = tree(&source);
    for (index, (files, work)) in containers.each().into_iter().enumerate() {
        let report = files.upload(&source, &work).await.unwrap();
        assert_eq!(report.files, 2000);
        assert_eq!(report.directories, 21);
        let back = containers.world.folder().join(format!("back{index}"));
        files.download(&work, &back).await.unwrap();
        assert_eq!(tree(&back), expected);
    }
    containers.finish().await;
}

#[tokio::test]
async fn what_is_there_and_not_in_the_source_stays() {
    let containers = Containers::new().await;
    let source = containers.world.folder().join("source");
    make(&source.join("both/new"), "new", 0o644, 1);
    make(&source.join("both/same"), "new", 0o600, 2);
    make(&source.join("only/here"), "new", 0o644, 3);
    symlink("new", source.join("both/link")).unwrap();
    for (index, (files, work)) in containers.each().into_iter().enumerate() {
        files.make_dir_all(work.join("both")).await.unwrap();
        for name in ["both/same", "both/old", "both/link"] {
            files.write(work.join(name), "old").await.unwrap();
        }
        files.upload(&source, &work).await.unwrap();
        let back = containers.world.folder().join(format!("back{index}"));
        make(&back.join("both/older"), "older", 0o644, 4);
        make(&back.join("both/link"), "older", 0o644, 4);
        files.download(&work, &back).await.unwrap();
        let found = tree(&back);
        let read: Vec<_> = found
            .iter()
            .map(|(path, _, _, content)| {
                (
                    path.to_str().unwrap(),
                    std::str::from_utf8(content).unwrap(),
                )
            })
            .collect();
        let expected = [
            ("both", ""),
            ("both/link", "new"),
            ("both/new", "new"),
            ("both/old", "old"),
            ("both/older", "older"),
            ("both/same", "new"),
            ("only", ""),
            ("only/here", "new"),
        ];
        assert_eq!(read, expected);
        let mode = files.metadata(work.join("both/same")).await.unwrap().mode();
        assert_eq!(mode, 0o600);
    }
    containers.finish().await;
}

#[tokio::test]
async fn special_files_are_refused_or_left_out() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    make(&source.join("file"), "1", 0o644, 0);
    nix::unistd::mkfifo(&source.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = files.upload(&source, "/files-test").await.unwrap_err();
    assert!(
        matches!(
            &refused,
            FilesError::Special {
                kind: Kind::Fifo,
                ..
            }
        ),
        "{refused}"
    );
    assert!(!files.exists("/files-test").await.unwrap());
    let upload = files.upload(&source, "/files-test");
    let report = upload.special_files(SpecialFiles::Skip).await.unwrap();
    assert_eq!(report.skipped[0].at.path(), source.join("pipe"));
    assert_eq!(names(&files, "/files-test").await, ["file"]);

    alone.shell("mkfifo /files-test/other").await;
    let back = alone.path("back");
    let refused = files.download("/files-test", &back).await.unwrap_err();
    assert!(matches!(refused, FilesError::Special { .. }), "{refused}");
    assert!(!back.exists());
    let download = files.download("/files-test", &back);
    let report = download.special_files(SpecialFiles::Skip).await.unwrap();
    assert_eq!(report.skipped[0].kind, Kind::Fifo);
    assert_eq!(super::local_names(&back), ["file"]);
    alone.finish().await;
}

#[tokio::test]
async fn how_far_it_is_can_be_followed() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    make(&source.join("one"), vec![1; 100_000], 0o644, 0);
    make(&source.join("two"), vec![2; 50_000], 0o644, 0);
    let last = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&last);
    let upload = files.upload(&source, "/files-test");
    let upload = upload.progress(move |progress: Progress| {
        assert!(progress.bytes >= told.load(Ordering::Relaxed));
        told.store(progress.bytes, Ordering::Relaxed);
    });
    assert_eq!(upload.await.unwrap().bytes, 150_000);
    assert_eq!(last.load(Ordering::Relaxed), 150_000);
    alone.finish().await;
}

#[tokio::test]
async fn a_file_is_no_directory_and_a_directory_no_file() {
    let alone = Alone::new().await;
    let files = alone.files();
    make(&alone.path("tree/name/inside"), "1", 0o644, 0);
    make(&alone.path("file"), "1", 0o644, 0);
    alone
        .shell("mkdir -p /dir/name/x /tree; echo kept > /file; echo kept > /tree/name")
        .await;
    let error = files.upload(alone.path("file"), "/dir").await.unwrap_err();
    assert!(matches!(error, FilesError::IsADirectory { .. }), "{error}");
    let error = files.upload(alone.path("tree"), "/file").await.unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    let error = files.upload(alone.path("tree"), "/tree").await.unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    let error = files
        .download("/file", alone.path("tree"))
        .await
        .unwrap_err();
    assert!(matches!(error, FilesError::IsADirectory { .. }), "{error}");
    let error = files
        .download("/dir", alone.path("file"))
        .await
        .unwrap_err();
    assert!(matches!(error, FilesError::NotADirectory { .. }), "{error}");
    let error = files
        .download("/tree", alone.path("tree"))
        .await
        .unwrap_err();
    assert!(matches!(error, FilesError::IsADirectory { .. }), "{error}");
    assert_eq!(
        alone.shell("cat /file /tree/name; ls -A /dir /tree").await,
        "kept\nkept\n/dir:\nname\n\n/tree:\nname\n"
    );
    assert_eq!(super::local_names(&alone.path("tree")), ["name"]);
    alone.finish().await;
}
