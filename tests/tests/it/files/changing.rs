//! Sources that change while they are copied.

use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use apptainer::files::{FilesError, Progress};

use super::{Alone, local_names, make, names};

/// Does something when the first bytes have been copied.
fn once(act: impl Fn() + Send + Sync + 'static) -> impl Fn(Progress) + Send + Sync + 'static {
    let done = AtomicBool::new(false);
    move |progress| {
        if progress.bytes > 0 && !done.swap(true, Ordering::Relaxed) {
            act();
        }
    }
}

#[tokio::test]
async fn a_source_that_grows_shrinks_or_is_removed_leaves_what_was_there() {
    let alone = Alone::new().await;
    let files = alone.files();
    files.write("/files-test", "old").await.unwrap();
    let source = alone.path("source");
    for change in ["grow", "shrink", "remove", "touch"] {
        make(&source, vec![1; 3 << 20], 0o644, 0);
        let path = source.clone();
        let act = move || match change {
            "grow" => {
                let mut file = File::options().append(true).open(&path).unwrap();
                file.write_all(b"more").unwrap();
            }
            "shrink" => {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len(1 << 20).unwrap();
            }
            "remove" => fs::remove_file(&path).unwrap(),
            _ => {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_modified(std::time::SystemTime::now()).unwrap();
            }
        };
        let upload = files.upload(&source, "/files-test").progress(once(act));
        let error = upload.await.unwrap_err();
        assert!(
            matches!(error, FilesError::Changed { .. }),
            "{change}: {error:?}"
        );
        assert_eq!(files.read("/files-test").await.unwrap(), &b"old"[..]);
        assert!(
            !names(&files, "/")
                .await
                .iter()
                .any(|name| name.starts_with(".app"))
        );
    }
    alone.finish().await;
}

#[tokio::test]
async fn what_vanishes_from_a_directory_leaves_nothing_of_it() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    for change in ["file", "directory"] {
        for number in 0..30 {
            make(&source.join(format!("a{number}")), vec![1; 1000], 0o644, 0);
            make(
                &source.join(format!("d{number}/x")),
                vec![1; 1000],
                0o644,
                0,
            );
        }
        let path = source.clone();
        let act = move || match change {
            "file" => fs::remove_file(path.join("a9")).unwrap(),
            _ => fs::remove_dir_all(path.join("d9")).unwrap(),
        };
        let upload = files.upload(&source, "/files-test").progress(once(act));
        let error = upload.await.unwrap_err();
        assert!(
            matches!(error, FilesError::Changed { .. }),
            "{change}: {error:?}"
        );
        assert!(!files.exists("/files-test").await.unwrap());
        let left = names(&files, "/").await;
        assert!(
            !left.iter().any(|name| name.starts_with(".app")),
            "{left:?}"
        );
    }
    alone.finish().await;
}

#[tokio::test]
async fn the_same_of_what_is_in_the_container() {
    let alone = Alone::new().await;
    let files = alone.files();
    let (target, tree) = (alone.path("out/file"), alone.path("out/tree"));
    make(&target, "old", 0o644, 0);
    for script in [
        "echo more >> /files-test/file",
        "rm /files-test/file",
        "rm -r /files-test",
    ] {
        alone.shell("mkdir -p /files-test; rm -f /files-test/*; head -c 3000000 /dev/zero > /files-test/file; cp /files-test/file /files-test/z").await;
        for (source, target) in [("/files-test/file", &target), ("/files-test", &tree)] {
            alone
                .shell(
                    "mkdir -p /files-test; head -c 3000000 /dev/zero > /files-test/file; cp /files-test/file /files-test/z",
                )
                .await;
            let mut command = alone.service.command("sh").unwrap();
            command.args(["-c", script]);
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let (answer, wait) = std::sync::mpsc::channel::<()>();
            let wait = std::sync::Mutex::new(wait);
            let act = move || {
                sender.send(()).unwrap();
                wait.lock().unwrap().recv().unwrap();
            };
            let download = files.download(source, target).progress(once(act));
            let change = async {
                receiver.recv().await.unwrap();
                assert!(command.status().await.unwrap().success());
                answer.send(()).unwrap();
            };
            let (result, ()) = tokio::join!(std::future::IntoFuture::into_future(download), change);
            let error = result.unwrap_err();
            assert!(
                matches!(error, FilesError::Changed { .. }),
                "{script}: {error:?}"
            );
            assert_eq!(fs::read(alone.path("out/file")).unwrap(), b"old");
            assert_eq!(local_names(&alone.path("out")), ["file"]);
        }
    }
    alone.finish().await;
}
