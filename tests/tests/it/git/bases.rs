//! Which commit is compared with where none is named.

use super::Place;

/// A remote with two commits on `main`, and a clone of it.
const CLONED: &str = "
    git init -q -b main --bare origin.git
    git clone -q origin.git first 2>/dev/null
    cd first; git switch -q -c main 2>/dev/null || true
    write one; commit; write two; commit; git push -q origin main; cd ..
    git -C origin.git symbolic-ref HEAD refs/heads/main
    git clone -q origin.git r; cd r";

#[tokio::test]
async fn a_branch_is_compared_with_where_it_left_the_remotes_default_branch() {
    let place = Place::new().await;
    place
        .script(
            "",
            &format!("{CLONED}; git switch -qc topic; write three; commit; write four"),
        )
        .await;
    place.finds("r", None, &["A four", "A three"]).await;
    // What others do on the default branch does not count.
    let script = "
        cd ../first; write five; git rm -q one; commit; git push -q origin main
        cd ../r; git fetch -q";
    place.script("r", script).await;
    place.finds("r", None, &["A four", "A three"]).await;
    place.finds("r", Some("HEAD"), &["A four"]).await;
    place
        .finds(
            "r",
            Some("origin/main"),
            &["D five", "A four", "A one", "A three"],
        )
        .await;
    place.finish().await;
}

#[tokio::test]
async fn a_branch_is_compared_with_its_own_at_the_remote_unless_that_shows_nothing() {
    let place = Place::new().await;
    let script =
        format!("{CLONED}; git switch -qc topic; write three; commit; git push -q origin topic");
    place.script("", &script).await;
    // All has been pushed: what the branch has done is shown, untracked files or not.
    place.finds("r", None, &["A three"]).await;
    place.script("r", "write untracked").await;
    place.finds("r", None, &["A three", "A untracked"]).await;
    // Now there is something new.
    place.script("r", "write two new").await;
    place.finds("r", None, &["U two", "A untracked"]).await;
    // Also in a directory without it.
    place
        .script(
            "r",
            "write below/three; git add below; git commit -qm x; git push -q origin topic",
        )
        .await;
    place.finds("r/below", None, &[]).await;
    place.script("r", "git checkout -q two").await;
    place.finds("r/below", None, &["A three"]).await;
    place
        .script("r", "write below/four; git add below; git commit -qm y")
        .await;
    place
        .finds("r", None, &["A below/four", "A untracked"])
        .await;
    place.finish().await;
}

#[tokio::test]
async fn the_default_branch_itself_is_compared_with_the_remotes() {
    let place = Place::new().await;
    place
        .script("", &format!("{CLONED}; write three; commit; write four"))
        .await;
    place.finds("r", None, &["A four", "A three"]).await;
    place.script("r", "git push -q origin main").await;
    place.finds("r", None, &["A four"]).await;
    place.script("r", "git switch -q --detach HEAD~1").await;
    place.finds("r", None, &["A four"]).await;
    place.finish().await;
}

#[tokio::test]
async fn no_remote_is_asked_for_its_default_branch() {
    let place = Place::new().await;
    let script = format!(
        "{CLONED}; git symbolic-ref -d refs/remotes/origin/HEAD
        git remote set-url origin 'ext::touch /work/asked'; git config protocol.ext.allow always
        git switch -qc topic; write three; commit"
    );
    place.script("", &script).await;
    place.finds("r", None, &["A three"]).await;
    assert!(!place.work.join("asked").exists());
    // The trap works.
    place
        .script("r", "git remote show origin >/dev/null 2>&1 || true")
        .await;
    assert!(place.work.join("asked").exists());
    place.finish().await;
}

#[tokio::test]
async fn what_has_nothing_in_common_with_the_remote_is_compared_with_its_tip() {
    let place = Place::new().await;
    let script = format!("{CLONED}; git switch -q --orphan other; write three; commit");
    place.script("", &script).await;
    place.finds("r", None, &["D one", "A three", "D two"]).await;
    place.finish().await;
}

#[tokio::test]
async fn without_a_remote_a_branch_is_compared_with_a_main_that_has_not_moved_on() {
    let place = Place::new().await;
    let script = "init; write one; commit; git switch -qc topic; write two; commit; write three";
    place.script("r", script).await;
    place.finds("r", None, &["A three", "A two"]).await;
    place
        .script(
            "r",
            "git switch -q main; write four; git add four; git commit -qm x; git switch -q topic",
        )
        .await;
    place.finds("r", None, &["A three"]).await;
    place
        .script(
            "master",
            "git init -q -b master; write one; commit; git switch -qc topic; write two; commit",
        )
        .await;
    place.finds("master", None, &["A two"]).await;
    place.finish().await;
}

#[tokio::test]
async fn a_commit_may_be_named_in_any_way_that_git_knows() {
    let place = Place::new().await;
    let script = "init; write one; commit; git tag -am tag v1; git branch old; write two; commit";
    place.script("r", script).await;
    for name in ["v1", "old", "main~1", "refs/heads/old", "HEAD^"] {
        place.finds("r", Some(name), &["A two"]).await;
    }
    place.finds("r", Some("main"), &[]).await;
    place.finish().await;
}

#[tokio::test]
async fn a_file_that_is_again_as_in_an_older_commit_is_no_change_from_that() {
    let place = Place::new().await;
    let script = "
        init; mkdir many
        all() { for i in $(seq 3000); do echo $1 > many/$i; done; }
        all one
        for f in mode on; do write $f; done; commit
        all two
        for f in mode on; do write $f new; done; commit
        all one
        write mode; chmod +x mode; write on third";
    place.script("r", script).await;
    place.finds("r", Some("HEAD~1"), &["U mode", "U on"]).await;
    place.script("r", "git add .").await;
    place.finds("r", Some("HEAD~1"), &["U mode", "U on"]).await;
    place.finish().await;
}
