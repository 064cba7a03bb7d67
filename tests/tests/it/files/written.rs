//! Reading and writing single files.

use std::io::Read;

use apptainer::files::{FilesError, Kind};
use tokio::io::AsyncReadExt;

use super::{Alone, Containers, make, names, noise};

#[tokio::test]
async fn what_is_written_is_read() {
    let containers = Containers::new().await;
    for (files, work) in containers.each() {
        files.make_dir(&work).await.unwrap();
        for (name, content) in [
            ("empty", Vec::new()),
            ("short", b"hello\n".to_vec()),
            ("long", noise(3 << 20)),
            (" \n'\"\t", b"of an odd name".to_vec()),
        ] {
            let path = work.join(name);
            assert!(!files.exists(&path).await.unwrap());
            files.write(&path, content.clone()).await.unwrap();
            assert_eq!(files.read(&path).await.unwrap(), content);
            let metadata = files.metadata(&path).await.unwrap();
            assert_eq!(metadata.len(), content.len() as u64);
            assert_eq!(metadata.kind(), Kind::File);
        }
        let listed = files.list(&work).await.unwrap();
        assert_eq!(listed.len(), 4);
        // A relative path begins where commands do.
        let up = std::path::Path::new("../../../../../../..").join(work.strip_prefix("/").unwrap());
        assert_eq!(files.read(up.join("short")).await.unwrap(), &b"hello\n"[..]);
    }
    containers.finish().await;
}

#[tokio::test]
async fn a_hundred_mebibytes_go_in_and_out() {
    let containers = Containers::new().await;
    let content = noise(100 << 20);
    let source = containers.world.folder().join("source");
    make(&source, &content, 0o640, 1000);
    // The service's overlay is in memory, and may be smaller.
    for (files, work) in &containers.each()[1..] {
        let report = files.upload(&source, work.join("in")).await.unwrap();
        assert_eq!(report.bytes, content.len() as u64);
        let back = containers.world.folder().join("back");
        files.download(work.join("in"), &back).await.unwrap();
        assert!(std::fs::read(&back).unwrap() == content);
    }
    containers.finish().await;
}

#[tokio::test]
async fn what_is_replaced_keeps_its_permissions_and_a_link_keeps_leading_there() {
    let alone = Alone::new().await;
    let files = alone.files();
    alone
        .shell("mkdir -p /files-test/far; cd /files-test; echo old > far/file; chmod 640 far/file; ln -s far/file near; ln -s near nearer; ln -s far/new dangling; umask 027")
        .await;
    files.write("/files-test/nearer", "new").await.unwrap();
    files.write("/files-test/dangling", "made").await.unwrap();
    let links = "cd /files-test; cat far/file far/new; readlink near; readlink nearer; readlink dangling; stat -c %a far/file";
    assert_eq!(
        alone.shell(links).await,
        "newmadefar/file\nnear\nfar/new\n640\n"
    );
    let mode = files.metadata("/files-test/far/new").await.unwrap().mode();
    files.write("/files-test/plain", "").await.unwrap();
    let plain = files.metadata("/files-test/plain").await.unwrap().mode();
    // What the umask leaves.
    let touched = alone
        .shell("touch /files-test/touched; stat -c %a /files-test/touched")
        .await;
    assert_eq!(format!("{mode:o}\n"), touched);
    assert_eq!(mode, plain);
    files
        .write("/files-test/secret", "")
        .mode(0o600)
        .await
        .unwrap();
    assert_eq!(
        files.metadata("/files-test/secret").await.unwrap().mode(),
        0o600
    );
    assert_eq!(names(&files, "/files-test/far").await, ["file", "new"]);
    alone.finish().await;
}

#[tokio::test]
async fn a_file_is_read_as_a_stream_and_by_its_descriptor() {
    let alone = Alone::new().await;
    let files = alone.files();
    let content = noise(300_000);
    files.upload_bytes(content.clone(), "/a/b/c").await.unwrap();
    let mut file = files.open("/a/b/c").await.unwrap();
    assert_eq!(file.metadata().len(), 300_000);
    let mut read = Vec::new();
    file.read_to_end(&mut read).await.unwrap();
    assert!(read == content);
    let mut file = files.open("/a/b/c").await.unwrap().into_std().await;
    files.remove_all("/a").await.unwrap();
    let mut read = Vec::new();
    file.read_to_end(&mut read).unwrap();
    assert!(read == content);

    let mut stream = &content[..];
    let written = files.upload_from(&mut stream, "/d/e").await.unwrap();
    assert_eq!(written, 300_000);
    let mut stream = Vec::new();
    files.download_to("/d/e", &mut stream).await.unwrap();
    assert!(stream == content);
    let version = files.read("/proc/version").await.unwrap();
    assert!(version.starts_with(b"Linux"));
    alone.finish().await;
}

#[tokio::test]
async fn no_more_is_read_than_is_wanted() {
    let alone = Alone::new().await;
    let files = alone.files();
    files.write("/ten", "0123456789").await.unwrap();
    assert_eq!(files.read_up_to("/ten", 10).await.unwrap().len(), 10);
    for path in ["/ten", "/dev/zero", "/proc/version"] {
        let error = files.read_up_to(path, 9).await.unwrap_err();
        let is_told = matches!(
            error,
            FilesError::TooLarge { .. } | FilesError::Special { .. }
        );
        assert!(is_told, "{path}: {error}");
    }
    alone.finish().await;
}
