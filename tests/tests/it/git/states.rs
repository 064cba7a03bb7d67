//! States that a repository can be in.

use apptainer::workspace::GitError;

use super::Place;

#[tokio::test]
async fn without_a_commit_all_that_is_not_ignored_is_new() {
    let place = Place::new().await;
    let script =
        "init; write staged; git add staged; write untracked; write .gitignore '*.o'; write x.o";
    place.script("r", script).await;
    let expected = ["A .gitignore", "A staged", "A untracked"];
    place.finds("r", None, &expected).await;
    place.finds("r", Some("HEAD"), &expected).await;
    place.script("empty", "init").await;
    place.finds("empty", None, &[]).await;
    place.finish().await;
}

#[tokio::test]
async fn a_branch_without_a_commit_beside_ones_with_some_is_new() {
    let place = Place::new().await;
    let script = "init; write a; commit; git switch -q --orphan other; write b";
    place.script("r", script).await;
    place.finds("r", None, &["A b"]).await;
    place.finds("r", Some("main"), &["D a", "A b"]).await;
    place.finish().await;
}

#[tokio::test]
async fn without_a_branch_what_is_checked_out_is_compared_with() {
    let place = Place::new().await;
    let script = "
        init; write a; write .gitignore '*.o'; commit; write b; commit
        git checkout -q --detach HEAD; write a new";
    place.script("r", script).await;
    place.finds("r", None, &["U a"]).await;
    place.finds("r", Some("HEAD~1"), &["U a", "A b"]).await;
    place.finish().await;
}

#[tokio::test]
async fn files_with_conflicts_are_changes_whatever_they_hold() {
    let place = Place::new().await;
    let script = "
        init; write a; write b; write c; commit
        git switch -qc other; write a other; write d other; git rm -q b; write c other; commit
        git switch -q main; write a main; write d main; write b main; git rm -q c; commit
        git merge -q other >/dev/null && exit 1; true";
    place.script("r", script).await;
    place.finds("r", None, &["U a", "U b", "A c", "U d"]).await;
    let from_older = ["U a", "U b", "U c", "A d"];
    place.finds("r", Some("HEAD~1"), &from_older).await;
    place.script("r", "rm a b c d").await;
    place.finds("r", None, &["D a", "D b", "D d"]).await;
    place.finish().await;
}

#[tokio::test]
async fn a_worktree_is_a_repository() {
    let place = Place::new().await;
    let script = "init; write a; write b; commit; git worktree add -q ../tree -b topic";
    place.script("r", script).await;
    place
        .script("tree", "write a new; git rm -q b; write c")
        .await;
    place.script("r", "write b new").await;
    place.finds("tree", None, &["U a", "D b", "A c"]).await;
    place.finds("r", None, &["U b"]).await;
    place.script("tree", "commit; write d").await;
    // It was made of `main`, which has not moved on.
    place
        .finds("tree", None, &["U a", "D b", "A c", "A d"])
        .await;
    place.finish().await;
}

#[tokio::test]
async fn a_split_index_and_a_sparse_checkout_are_understood() {
    let place = Place::new().await;
    let script = "
        init; for i in 1 2 3; do write a/$i; write b/$i; done; commit
        git config core.splitIndex true; git config splitIndex.maxPercentChange 100
        git update-index --split-index; write a/1 new; git add a/1; write a/2 new
        ls .git/sharedindex.* > /dev/null";
    place.script("split", script).await;
    place.finds("split", None, &["U a/1", "U a/2"]).await;
    let script = "
        init; for i in 1 2 3; do write a/$i; write b/$i; done; commit
        git sparse-checkout set --cone a; [ ! -e b ]; write a/1 new";
    place.script("sparse", script).await;
    place.finds("sparse", None, &["U a/1"]).await;
    place.finish().await;
}

#[tokio::test]
async fn hashes_may_be_long_ones() {
    let place = Place::new().await;
    let script = "
        git init -q -b main --object-format=sha256 .
        write a; write c; commit; write b; commit; write a new; git add a; write a; write c new";
    place.script("r", script).await;
    place.finds("r", None, &["U c"]).await;
    place.finds("r", Some("HEAD~1"), &["A b", "U c"]).await;
    place
        .script(
            "new",
            "git init -q --object-format=sha256 .; write a; git add a",
        )
        .await;
    place.finds("new", None, &["A a"]).await;
    place.finish().await;
}

#[tokio::test]
async fn objects_may_be_borrowed_and_history_be_cut_off() {
    let place = Place::new().await;
    place
        .script("r", "init; write a; commit; write b; commit")
        .await;
    let script =
        "git clone -q --shared /work/r .; write a new; [ -s .git/objects/info/alternates ]";
    place.script("shared", script).await;
    place.finds("shared", None, &["U a"]).await;
    let script = "git clone -q --depth 1 file:///work/r .; write a new; [ -s .git/shallow ]";
    place.script("shallow", script).await;
    place.finds("shallow", None, &["U a"]).await;
    place.finish().await;
}

#[tokio::test]
async fn where_nothing_is_checked_out_or_nothing_is_a_repository_that_is_said() {
    let place = Place::new().await;
    let is_none = GitError::is_not_a_repository;
    place.script("plain", "write a; write .gitignore a").await;
    place.fails("plain", None, is_none).await;
    place.script("bare", "git init -q --bare .").await;
    place
        .fails("bare", None, |error| matches!(error, GitError::Bare { .. }))
        .await;
    place.script("r", "init; write a; commit").await;
    place
        .fails("r/.git", None, |error| {
            matches!(error, GitError::Bare { .. })
        })
        .await;
    place.fails("nowhere", None, GitError::is_not_found).await;
    place.fails("plain/a", None, GitError::is_not_found).await;
    for unknown in [
        "nowhere", "-q", "--all", "", "a\0b", "HEAD~9", "main:a", "a b",
    ] {
        let is_so = |error: &GitError| matches!(error, GitError::UnknownRef { .. });
        place.fails("r", Some(unknown), is_so).await;
    }
    place.script("broken", "init; rm .git/HEAD").await;
    place.fails("broken", None, is_none).await;
    place.finish().await;
}
