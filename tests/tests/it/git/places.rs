//! Which git answers, and what it may reach.

use std::time::Duration;

use apptainer::workspace::{Git, GitError, GitProgram};
use fixtures::World;

use super::{Place, shown};

#[tokio::test]
async fn it_is_known_which_git_answers() {
    let place = Place::new().await;
    let version = std::process::Command::new("git")
        .arg("--version")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version
        .trim()
        .strip_prefix("git version ")
        .unwrap()
        .to_owned();
    let image = place.image().which().await.unwrap();
    assert!(matches!(image, GitProgram::Image { .. }), "{image}");
    let host = place.host().which().await.unwrap();
    assert_eq!(host, GitProgram::Host { version });
    place.finish().await;
}

#[tokio::test]
async fn an_image_without_git_says_so_and_the_hosts_does_instead() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let work = world.folder().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("a"), "a").unwrap();
    let init = std::process::Command::new("git")
        .args(["init", "-q"])
        .arg(&work)
        .status();
    assert!(init.unwrap().success());
    let spec = world.spec().bind(&work, "/work");
    let service = supervisor.start(&spec).await.unwrap();
    let inside = service.clone();
    let image = Git::new(move |program| inside.command(program).unwrap(), "/work");
    assert!(matches!(image.which().await, Err(GitError::NoGit)));
    assert!(matches!(
        image.changes("", None).await,
        Err(GitError::NoGit)
    ));
    assert!(matches!(image.diff("a", None).await, Err(GitError::NoGit)));
    let host = Git::on_host(&work, "/work", "/work");
    assert_eq!(shown(&host.changes("", None).await.unwrap()), ["A a"]);
    assert_eq!(host.diff("a", None).await.unwrap().modified.unwrap(), "a");
    service.stop().await.unwrap();
    drop((supervisor, service));
    world.finish();
}

#[tokio::test]
async fn a_command_by_apptainer_exec_does_too() {
    let place = Place::new().await;
    place
        .script("r", "init; write a; commit; write 'b c'")
        .await;
    let mut container = place.world.container().await.bind(&place.work, "/work");
    for folder in ["/usr", "/lib", "/lib64"] {
        container = container.bind_read_only(folder, folder);
    }
    let git = Git::new(move |program| container.command(program), "/work/r");
    assert_eq!(shown(&git.changes("", None).await.unwrap()), ["A b c"]);
    assert_eq!(git.diff("a", None).await.unwrap().original.unwrap(), "a\n");
    let error = git.changes("nowhere", None).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    place.finish().await;
}

#[tokio::test]
async fn one_that_does_not_end_is_ended() {
    let place = Place::new().await;
    // Who reads the branch waits for somebody to write it.
    let script = "init; write a; commit; rm .git/refs/heads/main; mkfifo .git/refs/heads/main";
    place.script("r", script).await;
    for git in [place.image(), place.host()] {
        let git = git.timeout(Duration::from_millis(500));
        let error = git.changes("r", None).await.unwrap_err();
        assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    }
    place.finish().await;
}

#[tokio::test]
async fn nothing_is_written() {
    let place = Place::new().await;
    // What has been touched, git likes to note in its index.
    place
        .script(
            "r",
            "init; write a; write b; commit; sleep 1.1; touch a; write b new",
        )
        .await;
    let index = place.work.join("r/.git/index");
    let before = std::fs::metadata(&index).unwrap().modified().unwrap();
    place.finds("r", None, &["U b"]).await;
    place.finds("r", Some("HEAD"), &["U b"]).await;
    for git in [place.image(), place.host()] {
        git.diff("r/b", None).await.unwrap();
    }
    assert_eq!(
        std::fs::metadata(&index).unwrap().modified().unwrap(),
        before
    );
    // And while somebody else writes it, it can be asked all the same.
    place.script("r", "touch .git/index.lock").await;
    place.finds("r", None, &["U b"]).await;
    place.finish().await;
}

#[tokio::test]
async fn a_repository_of_another_user_can_be_asked_about() {
    let place = Place::new().await;
    // git takes this for one of another user.
    place.script("r", "init; write a; commit; write b").await;
    let service = place.service.clone();
    let git = Git::new(
        move |program| {
            let mut command = service.command(program).unwrap();
            command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
            command
        },
        "/work",
    );
    assert_eq!(shown(&git.changes("r", None).await.unwrap()), ["A b"]);
    place.finish().await;
}

#[tokio::test]
async fn a_dropped_question_leaves_nothing() {
    let place = Place::new().await;
    place
        .script(
            "r",
            "init; for i in $(seq 300); do write $i; done; commit; write a",
        )
        .await;
    for git in [place.image(), place.host()] {
        for micros in [0, 500, 2000, 5000, 9000] {
            let asked = git.changes("r", None);
            let _ = tokio::time::timeout(Duration::from_micros(micros), asked).await;
        }
        assert_eq!(shown(&git.changes("r", None).await.unwrap()), ["A a"]);
    }
    // That no program is left, this checks.
    place.finish().await;
}
