//! Files as they were and as they are.

use apptainer::workspace::{GitDiff, GitError, MAX_DIFF_BYTES};
use bytes::Bytes;

use super::Place;

/// What both find of a file: what it holds and what it held.
async fn diff(place: &Place, path: &str, reference: Option<&str>) -> [Option<String>; 2] {
    let image = place.image().diff(path, reference).await.unwrap();
    let host = place.host().diff(path, reference).await.unwrap();
    assert_eq!(image, host, "{path}");
    let shown = |side: Option<Bytes>| side.map(|side| side.escape_ascii().to_string());
    [shown(image.modified), shown(image.original)]
}

fn sides(modified: Option<&str>, original: Option<&str>) -> [Option<String>; 2] {
    [modified, original].map(|side| side.map(str::to_owned))
}

async fn fails(place: &Place, path: &str, reference: Option<&str>, is_so: fn(&GitError) -> bool) {
    for git in [place.image(), place.host()] {
        let error = git.diff(path, reference).await.unwrap_err();
        assert!(is_so(&error), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn bytes_are_as_they_are() {
    let place = Place::new().await;
    let script = r"
        init; git config core.autocrlf true
        printf ' a\r\n\f b \n\n' > text; printf '\0\377' > binary; printf '' > empty; write gone/f
        git -c core.autocrlf=false add .; git commit -qm x
        printf ' a\r\nc' > text; printf '\0\376' > binary; rm empty; rm -r gone; write new";
    place.script("r", script).await;
    let found = diff(&place, "r/text", None).await;
    assert_eq!(found, sides(Some(r" a\r\nc"), Some(r" a\r\n\x0c b \n\n")));
    let found = diff(&place, "r/binary", None).await;
    assert_eq!(found, sides(Some(r"\x00\xfe"), Some(r"\x00\xff")));
    assert_eq!(diff(&place, "r/empty", None).await, sides(None, Some("")));
    assert_eq!(
        diff(&place, "r/gone/f", None).await,
        sides(None, Some(r"gone/f\n"))
    );
    assert_eq!(
        diff(&place, "r/new", None).await,
        sides(Some(r"new\n"), None)
    );
    let diff = place.image().diff("r/binary", None).await.unwrap();
    assert!(diff.is_binary());
    let json = serde_json::to_string(&diff).unwrap();
    assert_eq!(serde_json::from_str::<GitDiff>(&json).unwrap(), diff);
    place.finish().await;
}

#[tokio::test]
async fn a_file_is_compared_with_the_commit_that_its_directory_is() {
    let place = Place::new().await;
    let script = "
        init; write d/f one; commit; git switch -qc topic; write d/f two; commit; write d/f three
        ln -s d link; mkdir inner; cd inner; init; write g; commit; write g new";
    place.script("r", script).await;
    for path in ["r/d/f", "r/link/f", "/work/r/d/f", "r/d/../d/f"] {
        let found = diff(&place, path, None).await;
        assert_eq!(found, sides(Some(r"three\n"), Some(r"one\n")), "{path}");
    }
    let found = diff(&place, "r/d/f", Some("HEAD")).await;
    assert_eq!(found, sides(Some(r"three\n"), Some(r"two\n")));
    let found = diff(&place, "r/inner/g", None).await;
    assert_eq!(found, sides(Some(r"new\n"), Some(r"g\n")));
    place.script("unborn", "init; write a").await;
    assert_eq!(
        diff(&place, "unborn/a", None).await,
        sides(Some(r"a\n"), None)
    );
    assert_eq!(
        diff(&place, "unborn/a", Some("HEAD")).await,
        sides(Some(r"a\n"), None)
    );
    place.finish().await;
}

#[tokio::test]
async fn a_link_is_what_it_leads_to() {
    let place = Place::new().await;
    let script = r"
        init; ln -s one link; write file; commit
        ln -sfn 'two
' link; rm file; ln -s /etc/passwd file; ln -s nowhere new";
    place.script("r", script).await;
    assert_eq!(
        diff(&place, "r/link", None).await,
        sides(Some(r"two\n"), Some("one"))
    );
    let found = diff(&place, "r/file", None).await;
    assert_eq!(found, sides(Some("/etc/passwd"), Some(r"file\n")));
    assert_eq!(
        diff(&place, "r/new", None).await,
        sides(Some("nowhere"), None)
    );
    place.finish().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let place = Place::new().await;
    let script = "
        init; head -c 1048576 /dev/zero > most; head -c 1048577 /dev/zero > more
        head -c 1048577 /dev/zero > was; commit; echo > was; rm more
        truncate -s 1T huge";
    place.script("r", script).await;
    for git in [place.image(), place.host()] {
        let most = git.diff("r/most", None).await.unwrap();
        assert_eq!(most.modified.as_ref().unwrap().len() as u64, MAX_DIFF_BYTES);
        assert!(most.is_empty());
        for (path, expected) in [("huge", 1 << 40), ("more", 1_048_577), ("was", 1_048_577)] {
            let error = git.diff(format!("r/{path}"), None).await.unwrap_err();
            let GitError::TooLarge { size, limit, .. } = error else {
                panic!("{path}: {error:?}");
            };
            assert_eq!((size, limit), (expected, MAX_DIFF_BYTES), "{path}");
        }
    }
    place.finish().await;
}

#[tokio::test]
async fn what_is_no_file_is_none() {
    let place = Place::new().await;
    let script = "
        init; write a; write f; commit; mkfifo pipe; rm f; write f/g; write .gitignore ignored; write ignored
        (mkdir ../plain; cd ../plain; write a)";
    place.script("r", script).await;
    for path in [
        "r/pipe",
        "r",
        "r/nowhere",
        "r/no/where",
        "plain/nowhere",
        "/work/r/..",
    ] {
        fails(&place, path, None, GitError::is_not_found).await;
    }
    // There was a file, and now there is a directory.
    assert_eq!(diff(&place, "r/f", None).await, sides(None, Some(r"f\n")));
    assert_eq!(
        diff(&place, "r/ignored", None).await,
        sides(Some(r"ignored\n"), None)
    );
    fails(&place, "plain/a", None, GitError::is_not_a_repository).await;
    let is_unknown = |error: &GitError| matches!(error, GitError::UnknownRef { .. });
    fails(&place, "r/a", Some("nowhere"), is_unknown).await;
    place.finish().await;
}
