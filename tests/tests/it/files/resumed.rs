//! Going on with a file.

use std::fs;

use apptainer::files::FilesError;

use super::{Alone, local_names, make, names, noise};

#[tokio::test]
async fn an_upload_goes_on_where_it_was_left_if_it_is_the_same() {
    let alone = Alone::new().await;
    let files = alone.files();
    let content = noise(5 << 20);
    let source = alone.path("source");
    for (partial, resumed) in [
        (content[..3 << 20].to_vec(), 3 << 20),
        // Something else, too much, and all of it.
        (vec![7; 1 << 20], 0),
        ([&content[..], b"more"].concat(), 0),
        (content.clone(), 5 << 20),
    ] {
        make(&source, &content, 0o640, 9);
        let broken_off = source.clone();
        files
            .write("/files-test/file", "old")
            .parents(true)
            .await
            .unwrap();
        // Broken off by a source that changes.
        let upload = files.upload(&source, "/files-test/file").resume(true);
        let upload = upload.progress(move |_| fs::write(&broken_off, "").unwrap());
        let error = upload.await.unwrap_err();
        assert!(matches!(error, FilesError::Changed { .. }), "{error:?}");
        assert_eq!(files.read("/files-test/file").await.unwrap(), &b"old"[..]);
        let left = names(&files, "/files-test").await;
        let [hidden, _] = <[String; 2]>::try_from(left).unwrap();
        assert!(hidden.starts_with(".apptainer-part-"));
        let path = format!("/files-test/{hidden}");
        files.write(&path, partial).await.unwrap();

        make(&source, &content, 0o640, 9);
        let report = files
            .upload(&source, "/files-test/file")
            .resume(true)
            .await
            .unwrap();
        assert_eq!(report.resumed_bytes, resumed);
        assert_eq!(report.bytes, content.len() as u64);
        assert!(files.read("/files-test/file").await.unwrap() == content);
        assert_eq!(
            files.metadata("/files-test/file").await.unwrap().mode(),
            0o640
        );
        assert_eq!(names(&files, "/files-test").await, ["file"]);
    }
    alone.finish().await;
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_left_if_it_is_the_same() {
    let alone = Alone::new().await;
    let files = alone.files();
    let content = noise(5 << 20);
    files.upload_bytes(content.clone(), "/file").await.unwrap();
    let out = alone.path("out");
    make(&out.join("file"), "old", 0o644, 0);
    let mut report = files
        .download("/file", out.join("file"))
        .resume(true)
        .await
        .unwrap();
    assert_eq!(report.resumed_bytes, 0);
    for (partial, resumed) in [(&content[..1 << 20], 1 << 20), (b"else", 0)] {
        // By its name it is known again.
        let error = files
            .download("/file", out.join("file"))
            .resume(true)
            .progress(|_| panic!("broken off"));
        let broken_off = tokio::spawn(std::future::IntoFuture::into_future(error));
        assert!(broken_off.await.unwrap_err().is_panic());
        let [hidden, _] = <[String; 2]>::try_from(local_names(&out)).unwrap();
        fs::write(out.join(hidden), partial).unwrap();
        report = files
            .download("/file", out.join("file"))
            .resume(true)
            .await
            .unwrap();
        assert_eq!(report.resumed_bytes, resumed);
        assert!(fs::read(out.join("file")).unwrap() == content);
        assert_eq!(local_names(&out), ["file"]);
    }
    alone.finish().await;
}
