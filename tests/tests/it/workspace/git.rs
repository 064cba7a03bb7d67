//! What a workspace tells of repositories: more is in the tests of git itself.

use std::path::Path;
use std::process::Command;

use apptainer::workspace::{GitError, GitProgram, GitStatus, WorkspaceError};
use fixtures::World;

fn git(folder: &Path, words: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
    let mut git = Command::new("git");
    git.current_dir(folder).args(identity).args(words);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn where_the_image_has_no_git_the_hosts_tells_of_what_is_mounted() {
    let world = World::new().await;
    let folder = world.folder().join("shared");
    std::fs::create_dir(&folder).unwrap();
    git(&folder, &["init", "-q"]);
    std::fs::write(folder.join("file"), "old\n").unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "-qm", "first"]);
    let workspace = world.workspace().mount_dir(&folder).start().await.unwrap();
    let which = workspace.git().await.unwrap().which().await.unwrap();
    assert!(matches!(which, GitProgram::Host { .. }), "{which:?}");
    assert_eq!(workspace.git_changes(".").await.unwrap(), []);
    let line = workspace.execute("echo new >file; echo more >other");
    assert!(line.await.unwrap().success());
    let changes = workspace.git_changes(".").await.unwrap();
    let changes: Vec<_> = changes
        .iter()
        .map(|change| (change.status, change.path.to_str().unwrap()))
        .collect();
    let expected = [(GitStatus::Updated, "file"), (GitStatus::Added, "other")];
    assert_eq!(changes, expected);
    let diff = workspace.git_diff("file").await.unwrap();
    assert_eq!(diff.original.as_deref(), Some(&b"old\n"[..]));
    assert_eq!(diff.modified.as_deref(), Some(&b"new\n"[..]));
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn where_there_is_no_git_that_is_said() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let error = workspace.git_changes(".").await.unwrap_err();
    assert!(
        matches!(error, WorkspaceError::Git(GitError::NoGit)),
        "{error}"
    );
    workspace.stop().await.unwrap();
    world.finish();
}
