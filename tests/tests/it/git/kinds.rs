//! Kinds of changes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use apptainer::workspace::{GitChange, GitStatus};

use super::Place;

#[tokio::test]
async fn what_is_staged_what_is_not_and_what_is_not_tracked_is_told() {
    let place = Place::new().await;
    let script = r"
        init
        for f in staged unstaged both deleted removed kept reverted gone; do write $f; done
        write .gitignore '*.o'
        commit
        write staged new; git add staged
        write unstaged new
        write both staged; git add both; write both unstaged
        rm deleted
        git rm -q removed
        git rm -q --cached kept
        write reverted new; git add reverted; write reverted
        write gone new; git add gone; rm gone
        write added; git add added
        write fleeting; git add fleeting; rm fleeting
        write intended; git add -N intended
        write new/untracked
        write ignored.o
        write new/ignored.o
    ";
    place.script("r", script).await;
    let expected = [
        "A added",
        "U both",
        "D deleted",
        "D gone",
        "A intended",
        "U kept",
        "A new/untracked",
        "D removed",
        "U staged",
        "U unstaged",
    ];
    place.finds("r", None, &expected).await;
    place.finds("r", Some("HEAD"), &expected).await;
    place.finish().await;
}

#[tokio::test]
async fn a_rename_is_a_path_deleted_and_one_added_and_a_copy_one_added() {
    let place = Place::new().await;
    let script = r"
        init; git config diff.renames copies; git config status.renames copies
        for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done > old; cp old kept; write moved/a; commit
        git mv old new
        echo more >> kept; cp kept copy; git add -A
        mv moved moved-by-hand
    ";
    place.script("r", script).await;
    let expected = [
        "A copy",
        "U kept",
        "D moved/a",
        "A moved-by-hand/a",
        "A new",
        "D old",
    ];
    let mut sorted = expected;
    sorted.sort_unstable_by_key(|change| change[2..].to_owned());
    place.finds("r", None, &sorted).await;
    place.finish().await;
}

#[tokio::test]
async fn modes_types_and_links_count() {
    let place = Place::new().await;
    let script = r"
        init
        for f in mode touched file-to-link file-to-directory; do write $f; done
        write directory-to-file/a
        ln -s one link; ln -s nowhere link-to-file; ln -s gone dangling
        printf '\0\1\377' > binary; printf '\0\1\377' > binary-kept
        commit
        chmod +x mode
        sleep 0.02; touch touched binary-kept
        rm file-to-link; ln -s mode file-to-link
        rm file-to-directory; write file-to-directory/a
        rm -r directory-to-file; write directory-to-file
        ln -sfn two link
        rm link-to-file; write link-to-file
        printf '\0\1\376' > binary
        ln -s anywhere new-link
    ";
    place.script("r", script).await;
    let expected = [
        "U binary",
        "A directory-to-file",
        "D directory-to-file/a",
        "D file-to-directory",
        "A file-to-directory/a",
        "U file-to-link",
        "U link",
        "U link-to-file",
        "U mode",
        "A new-link",
    ];
    place.finds("r", None, &expected).await;
    place.finish().await;
}

/// What comes behind `tracked` and `untracked`.
const NAMES: [&[u8]; 16] = [
    b"",
    b" ",
    b" a b ",
    b"\"quote'",
    b"\nline\n",
    b"\ttab",
    b"\\back",
    b"*",
    b"[x]?",
    b":(top)",
    b" -> b",
    b"\xc3\xa4",
    b"\xff\xfe",
    b"\x1b[31m",
    b"$(touch x)`touch y`",
    b"x/ below/\n-q",
];

#[tokio::test]
async fn names_may_hold_anything() {
    let place = Place::new().await;
    let write = |begin: &str, contents: &str| {
        for name in NAMES {
            for begin in [begin, &format!("-{begin}"), &format!(" :{begin}")] {
                let name = [begin.as_bytes(), b"-", name].concat();
                let path = place.work.join("r").join(OsStr::from_bytes(&name));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, contents).unwrap();
            }
        }
    };
    place.script("r", "init").await;
    write("tracked", "one");
    place.script("r", "commit").await;
    write("tracked", "two");
    write("untracked", "three");
    for git in [place.image(), place.host()] {
        let changes = git.changes("r", None).await.unwrap();
        assert_eq!(changes.len(), 2 * 3 * NAMES.len());
        assert!(changes.is_sorted_by_key(|change| change.path.as_os_str().to_owned()));
        for change in &changes {
            let path = change.path.as_os_str().as_bytes();
            let is_new = path.windows(9).any(|part| part == b"untracked");
            let (status, modified, original) = if is_new {
                (GitStatus::Added, "three", None)
            } else {
                (GitStatus::Updated, "two", Some("one"))
            };
            assert_eq!(change.status, status, "{change:?}");
            let end = path.splitn(2, |byte| *byte == b't').nth(1).unwrap();
            let end = end.strip_prefix(b"racked-");
            assert!(NAMES.contains(&end.unwrap()), "{change:?}");
            let diff = git
                .diff(Path::new("r").join(&change.path), None)
                .await
                .unwrap();
            assert_eq!(diff.modified_text().unwrap(), modified, "{change:?}");
            assert_eq!(diff.original_text().as_deref(), original, "{change:?}");
            let json = serde_json::to_string(change).unwrap();
            assert_eq!(serde_json::from_str::<GitChange>(&json).unwrap(), *change);
        }
    }
    place.finish().await;
}

#[tokio::test]
async fn ends_of_lines_and_modes_count_as_the_repository_is_configured() {
    let place = Place::new().await;
    let script = r"
        init; git config core.autocrlf true; git config core.filemode false
        write .gitattributes '*.txt text eol=crlf'
        printf 'a\r\nb\r\n' > a.txt; printf 'a\r\n' > b; write c
        commit
        rm a.txt b; git checkout -q a.txt b; sleep 0.02; touch a.txt b
        chmod +x c
    ";
    place.script("r", script).await;
    place.finds("r", None, &[]).await;
    place.script("r", "printf 'b\\r\\n' > b").await;
    place.finds("r", None, &["U b"]).await;
    place.finish().await;
}
