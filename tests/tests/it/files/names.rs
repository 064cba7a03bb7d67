//! What concerns names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use apptainer::files::{FilesError, Kind};

use super::{Alone, Containers, names};

#[tokio::test]
async fn directories_are_made_listed_and_removed() {
    let containers = Containers::new().await;
    for (files, work) in containers.each() {
        files.make_dir_all(work.join("a/b/c")).await.unwrap();
        files.make_dir_all(work.join("a/b/c")).await.unwrap();
        assert!(
            files
                .make_dir(work.join("a"))
                .await
                .unwrap_err()
                .is_exists()
        );
        let odd = OsStr::from_bytes(b"not \xff UTF-8\n and two lines");
        files.write(work.join("a").join(odd), "odd").await.unwrap();
        files
            .symlink("no/where", work.join("a/link"))
            .await
            .unwrap();
        let listed = files.list(work.join("a")).await.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|entry| (&entry.name[..], entry.kind))
            .collect();
        let expected = [
            (OsStr::new("b"), Kind::Directory),
            (OsStr::new("link"), Kind::Symlink),
            (odd, Kind::File),
        ];
        assert_eq!(listed, expected);
        let link = work.join("a/link");
        assert_eq!(files.read_link(&link).await.unwrap(), Path::new("no/where"));
        assert!(files.symlink_metadata(&link).await.unwrap().is_symlink());
        assert!(files.metadata(&link).await.unwrap_err().is_not_found());
        assert!(!files.exists(&link).await.unwrap());
        files.remove_file(&link).await.unwrap();
        files.remove_dir(work.join("a/b/c")).await.unwrap();
        let full = files.remove_dir(work.join("a")).await.unwrap_err();
        assert!(matches!(full, FilesError::NotEmpty { .. }), "{full}");
        files.remove_all(&work).await.unwrap();
        assert!(!files.exists(&work).await.unwrap());
    }
    containers.finish().await;
}

#[tokio::test]
async fn a_large_directory_is_listed_whole() {
    let alone = Alone::new().await;
    let files = alone.files();
    alone
        .shell("mkdir /many && cd /many && seq -w 5000 | sed s/^/entry-with-quite-a-long-name-/ | xargs touch")
        .await;
    let listed = names(&files, "/many").await;
    assert_eq!(listed.len(), 5000);
    assert!(listed.is_sorted());
    assert_eq!(listed[4999], "entry-with-quite-a-long-name-5000");
    files.remove_all("/many").await.unwrap();
    alone.finish().await;
}

#[tokio::test]
async fn what_is_removed_is_removed_however_deep_and_what_links_lead_to_is_not() {
    let alone = Alone::new().await;
    let files = alone.files();
    alone.shell("mkdir /kept && echo kept > /kept/file").await;
    let mut deep = String::from("/top");
    for level in 0..120 {
        deep += "/";
        deep += &level.to_string();
    }
    files.make_dir_all(&deep).await.unwrap();
    let script = "cd /top/0/1; ln -s /kept; ln -s ../../top/0; mkdir -p x/y z; touch x/y/1 x/2 z/3; mkfifo p";
    alone.shell(script).await;
    files
        .symlink("/kept", Path::new(&deep).join("link"))
        .await
        .unwrap();
    files.remove_all("/top").await.unwrap();
    assert!(!files.exists("/top").await.unwrap());
    assert_eq!(names(&files, "/kept").await, ["file"]);
    // Of a link, only that.
    files.symlink("/kept", "/link").await.unwrap();
    files.remove_all("/link").await.unwrap();
    assert_eq!(names(&files, "/kept").await, ["file"]);
    let gone = files.remove_all("/link").await.unwrap_err();
    assert!(gone.is_not_found());
    alone.finish().await;
}

#[tokio::test]
async fn a_name_is_given_and_taken_from_another_only_where_that_is_said() {
    let containers = Containers::new().await;
    for (files, work) in containers.each() {
        files.make_dir(&work).await.unwrap();
        files.write(work.join("one"), "1").await.unwrap();
        files.write(work.join("two"), "2").await.unwrap();
        let (one, two) = (work.join("one"), work.join("two"));
        assert!(files.rename_new(&one, &two).await.unwrap_err().is_exists());
        assert_eq!(files.read(&two).await.unwrap(), &b"2"[..]);
        files.rename_new(&one, work.join("three")).await.unwrap();
        files.rename(work.join("three"), &two).await.unwrap();
        assert_eq!(files.read(&two).await.unwrap(), &b"1"[..]);
        files.set_mode(&two, 0o711).await.unwrap();
        assert_eq!(files.metadata(&two).await.unwrap().mode(), 0o711);
    }
    containers.finish().await;
}
