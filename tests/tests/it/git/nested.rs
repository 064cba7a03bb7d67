//! Repositories in repositories, and directories in them.

use apptainer::workspace::GitError;

use super::Place;

#[tokio::test]
async fn a_directory_is_told_of_alone_and_by_paths_from_there() {
    let place = Place::new().await;
    let script = "
        init; write a/one; write a/deep/two; write ab/three; write four; commit
        write a/one new; write a/deep/two new; write a/five; write ab/three new; write four new
        ln -s a/deep link";
    place.script("r", script).await;
    place
        .finds("r/a", None, &["U deep/two", "A five", "U one"])
        .await;
    place.finds("/work/r/a/deep", None, &["U two"]).await;
    place.finds("r/link", None, &["U two"]).await;
    place.finds("r/a/../ab/.", None, &["U three"]).await;
    place
        .finds("r/a", Some("HEAD"), &["U deep/two", "A five", "U one"])
        .await;
    place.finish().await;
}

#[tokio::test]
async fn repositories_in_a_directory_are_told_of_by_themselves() {
    let place = Place::new().await;
    let script = "
        init; write one; write inner; write innermost/two; write .gitignore ignored/; commit
        rm inner; for d in inner ignored .hidden a/deep; do
            (mkdir -p $d; cd $d; init; write old; commit; write new)
        done
        write one new; write innermost/two new";
    place.script("r", script).await;
    let expected = [
        "A .hidden",
        "A a/deep",
        "A ignored/new",
        "A inner/new",
        "U innermost/two",
        "U one",
    ];
    place.finds("r", None, &expected).await;
    place.finds("r/inner", None, &["A new"]).await;
    place.finish().await;
}

#[tokio::test]
async fn what_is_no_repository_may_hold_some() {
    let place = Place::new().await;
    let script = "
        write stray
        (mkdir one; cd one; init; write a; commit; git tag v1; write b; commit)
        (mkdir two; cd two; init; write c; commit; write d)
        (mkdir -p broken/.git)
        ln -s one link";
    place.script("all", script).await;
    place.finds("all", None, &["A two/d"]).await;
    // A commit that only some know says nothing of the others.
    place
        .finds("all", Some("v1"), &["A link/b", "A one/b"])
        .await;
    place
        .fails("all/broken", None, GitError::is_not_a_repository)
        .await;
    place.script("empty", "mkdir -p broken/.git").await;
    place
        .fails("empty", None, GitError::is_not_a_repository)
        .await;
    place.finish().await;
}

#[tokio::test]
async fn submodules_are_told_of_like_repositories_and_further_below_as_one_change() {
    let place = Place::new().await;
    let script = "
        (mkdir sub; cd sub; init; write a; commit; write b; commit)
        mkdir r; cd r; init
        git config protocol.file.allow always
        for d in near a/moved a/clean a/untracked; do
            git -c protocol.file.allow=always submodule --quiet add /work/sub $d 2>/dev/null
        done
        commit
        write near/a new; write near/new
        git -C a/moved checkout -q HEAD~1
        write a/untracked/new";
    place.script("", script).await;
    let expected = ["U a/moved", "U near/a", "A near/new"];
    place.finds("r", None, &expected).await;
    // Those are directly in it.
    place.finds("r/a", None, &["A untracked/new"]).await;
    place.finds("r/a/moved", None, &[]).await;
    // What has been changed in one further below only the container's own git says.
    place.script("r", "write a/clean/a new").await;
    let image = place.image().changes("r", None).await.unwrap();
    let expected = ["U a/clean", "U a/moved", "U near/a", "A near/new"];
    assert_eq!(super::shown(&image), expected);
    let host = place.host().changes("r", None).await.unwrap();
    assert_eq!(super::shown(&host), expected[1..]);
    place.finds("r/a/clean", None, &["U a"]).await;
    place.finish().await;
}
