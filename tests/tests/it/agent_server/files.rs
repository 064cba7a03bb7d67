//! Files and repositories by an agent server.

use std::path::Path;

use apptainer::agent_server::{AgentServer, AgentServerError};
use apptainer::workspace::{BaseWorkspace, ExecuteOptions, GitChange, GitStatus};
use fixtures::World;

#[tokio::test]
async fn files_and_repositories_are_as_in_any_workspace() {
    let world = World::new().await;
    let server = world.agent_server().start().await.unwrap();
    files_go_both_ways(&server, world.folder()).await;
    what_fails_leaves_what_was_there(&server, world.folder()).await;
    changes_are_told(&server).await;
    whoever_knows_only_the_trait(&server, world.folder()).await;
    server.stop().await.unwrap();
    world.finish();
}

async fn files_go_both_ways(server: &AgentServer, folder: &Path) {
    let (source, back) = (folder.join("source"), folder.join("new/back"));
    let contents: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&source, &contents).unwrap();
    let bytes = server.upload(&source, "deep/er/file").await.unwrap();
    assert_eq!(bytes, contents.len() as u64);
    let line = "wc -c <deep/er/file";
    let result = server.execute(line).await.unwrap();
    assert_eq!(result.stdout_text().trim(), "5000000");
    let bytes = server.download("/workspace/deep/er/file", &back).await;
    assert_eq!(bytes.unwrap(), contents.len() as u64);
    assert!(std::fs::read(&back).unwrap() == contents);
    assert_eq!(
        std::fs::read_dir(back.parent().unwrap()).unwrap().count(),
        1
    );

    let name = "a b&c=d#ä";
    server.write(name, "text\n").await.unwrap();
    assert_eq!(server.read(name).await.unwrap().as_ref(), b"text\n");
    server.write(name, "").await.unwrap();
    assert_eq!(server.read(name).await.unwrap().as_ref(), b"");
    server.create_directory("made/here").await.unwrap();
    server.create_directory("made/here").await.unwrap();
    let result = server.execute("test -d made/here").await.unwrap();
    assert!(result.success());
}

async fn what_fails_leaves_what_was_there(server: &AgentServer, folder: &Path) {
    let place = folder.join("place/kept");
    std::fs::create_dir(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "as it was").unwrap();
    let error = server.download("missing", &place).await.unwrap_err();
    let is_missing = matches!(&error, AgentServerError::Status { status: 404, detail, .. } if detail.contains("not found"));
    assert!(is_missing, "{error}");
    assert_eq!(std::fs::read(&place).unwrap(), b"as it was");
    assert_eq!(
        std::fs::read_dir(place.parent().unwrap()).unwrap().count(),
        1
    );
    let error = server.read("/usr").await.unwrap_err();
    assert!(
        matches!(error, AgentServerError::Status { status: 400, .. }),
        "{error}"
    );
    let missing = folder.join("missing");
    let error = server.upload(&missing, "x").await.unwrap_err();
    assert!(matches!(error, AgentServerError::File { .. }), "{error}");
    let error = server.write("/usr", "no").await.unwrap_err();
    assert!(
        matches!(error, AgentServerError::Status { status: 400, .. }),
        "{error}"
    );
}

async fn changes_are_told(server: &AgentServer) {
    let none = server.git_changes("made").await.unwrap();
    assert_eq!(none, []);
    let line = "mkdir repository && cd repository && git init -q && echo one >file && git add . && \
        git -c user.name=A -c user.email=a@b commit -qm first && echo two >file && touch new";
    let result = server.execute(line).await.unwrap();
    assert!(result.success(), "{result:?}");
    let mut changes = server.git_changes("repository").await.unwrap();
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    let expected = [
        GitChange::new(GitStatus::Updated, "file"),
        GitChange::new(GitStatus::Added, "new"),
    ];
    assert_eq!(changes, expected);
    let diff = server.git_diff("repository/file").await.unwrap();
    assert_eq!(diff.original_text().unwrap().trim(), "one");
    assert_eq!(diff.modified_text().unwrap().trim(), "two");
    let commits = server.git_commits("repository", 5).await.unwrap();
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].subject, "first");
    assert_eq!(commits[0].author, "A");
}

async fn whoever_knows_only_the_trait(server: &AgentServer, folder: &Path) {
    let any: &dyn BaseWorkspace = server;
    assert_eq!(any.working_dir(), Path::new("/workspace"));
    any.write("by/trait".as_ref(), "text".into()).await.unwrap();
    let place = folder.join("by-trait");
    let bytes = any.download("by/trait".as_ref(), &place).await.unwrap();
    assert_eq!(bytes, 4);
    let bytes = any.upload(&place, "again".as_ref()).await.unwrap();
    assert_eq!(bytes, 4);
    let contents = any.read("again".as_ref()).await.unwrap();
    assert_eq!(contents.as_ref(), b"text");
    let options = ExecuteOptions::new().current_dir("by");
    let result = any.execute("ls".as_ref(), options).await.unwrap();
    assert_eq!(result.stdout_text(), "trait\n");
    let changes = any.git_changes("repository".as_ref()).await.unwrap();
    assert_eq!(changes.len(), 2);
    let diff = any.git_diff("repository/file".as_ref()).await.unwrap();
    assert!(!diff.is_empty());
    assert!(any.is_alive().await.unwrap());
    any.pause().await.unwrap();
    let state = server.workspace().unwrap().state();
    assert_eq!(state, apptainer::instance::State::Paused);
    any.resume().await.unwrap();
    let result = any.execute("true".as_ref(), ExecuteOptions::new()).await;
    assert!(result.unwrap().success());
    any.stop().await.unwrap();
    assert!(!any.is_alive().await.unwrap());
}
