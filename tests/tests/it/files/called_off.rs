//! Futures that are dropped before they are done.

use std::fs;
use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use super::{Alone, Containers, local_names, make, names, noise};

/// Polls a future for so long, and drops it; says whether it was done.
async fn for_so_long(future: impl Future, micros: u64) -> bool {
    let future = pin!(future);
    tokio::time::timeout(Duration::from_micros(micros), future)
        .await
        .is_ok()
}

/// Moments that get later and later.
fn moments() -> impl Iterator<Item = u64> {
    (0..60).map(|step| step * step * 20)
}

#[tokio::test]
async fn a_file_is_what_it_was_or_what_it_was_to_be_and_nothing_else_is_there() {
    let containers = Containers::new().await;
    let content = noise(8 << 20);
    let source = containers.world.folder().join("source");
    make(&source, &content, 0o644, 0);
    for (files, work) in containers.each() {
        files.make_dir(&work).await.unwrap();
        let path = work.join("file");
        for micros in moments() {
            files.write(&path, "old").await.unwrap();
            let is_done = if micros % 40 == 0 {
                for_so_long(files.upload(&source, &path).into_future(), micros).await
            } else {
                for_so_long(files.upload_from(&content[..], &path), micros).await
            };
            assert_eq!(files.list(&work).await.unwrap().len(), 1);
            let found = files.read(&path).await.unwrap();
            assert!(found == content || (!is_done && found == b"old"[..]));
        }
    }
    containers.finish().await;
}

#[tokio::test]
async fn a_directory_is_there_as_a_whole_or_not_at_all() {
    let containers = Containers::new().await;
    let source = containers.world.folder().join("source");
    for number in 0..200 {
        let path = source.join(format!("{}/{number}", number % 7));
        make(&path, noise(2000), 0o644, number);
    }
    let expected = super::tree(&source);
    let back = containers.world.folder().join("back");
    for (files, work) in containers.each() {
        files.make_dir(&work).await.unwrap();
        for micros in moments() {
            let path = work.join("tree");
            for_so_long(files.upload(&source, &path).into_future(), micros).await;
            if files.list(&work).await.unwrap().is_empty() {
                continue;
            }
            files.download(&path, &back).await.unwrap();
            assert_eq!(super::tree(&back), expected);
            fs::remove_dir_all(&back).unwrap();
            files.remove_all(&path).await.unwrap();
            assert!(files.list(&work).await.unwrap().is_empty());
        }
    }
    containers.finish().await;
}

#[tokio::test]
async fn the_same_on_the_host() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    for number in 0..200 {
        let path = source.join(format!("{}/{number}", number % 7));
        make(&path, noise(2000), 0o644, number);
    }
    let expected = super::tree(&source);
    files.upload(&source, "/files-test").await.unwrap();
    let content = noise(8 << 20);
    files.upload_bytes(content.clone(), "/large").await.unwrap();
    let out = alone.path("out");
    fs::create_dir(&out).unwrap();
    for micros in moments() {
        fs::write(out.join("file"), "old").unwrap();
        for_so_long(
            files.download("/large", out.join("file")).into_future(),
            micros,
        )
        .await;
        for_so_long(
            files
                .download("/files-test", out.join("tree"))
                .into_future(),
            micros,
        )
        .await;
        // A thread takes away what is not finished.
        settle(&out).await;
        let file = fs::read(out.join("file")).unwrap();
        assert!(file == b"old" || file == content);
        if out.join("tree").exists() {
            assert_eq!(super::tree(&out.join("tree")), expected);
            fs::remove_dir_all(out.join("tree")).unwrap();
        }
    }
    alone.finish().await;
}

async fn settle(folder: &Path) {
    for _ in 0..1000 {
        if !local_names(folder)
            .iter()
            .any(|name| name.starts_with(".app"))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("left: {:?}", local_names(folder));
}

#[tokio::test]
async fn what_is_done_beside_it_goes_on() {
    let alone = Alone::new().await;
    let files = alone.files();
    let content = noise(4 << 20);
    let writes = (0..8).map(|number| {
        let (files, content) = (files.clone(), content.clone());
        tokio::spawn(async move {
            let path = format!("/file{number}");
            for _ in 0..10 {
                for_so_long(files.write(&path, "x".repeat(9 << 20)).into_future(), 3000).await;
                files.write(&path, content.clone()).await.unwrap();
                assert!(files.read(&path).await.unwrap() == content);
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let left = names(&files, "/").await;
    assert!(
        !left.iter().any(|name| name.starts_with(".app")),
        "{left:?}"
    );
    alone.finish().await;
}
