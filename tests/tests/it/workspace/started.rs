//! What a workspace is, and its end.

use apptainer::image::Definition;
use apptainer::instance::{Port, State};
use apptainer::workspace::WorkspaceError;
use fixtures::World;

use super::said;

#[tokio::test]
async fn it_runs_commands_in_a_directory_of_its_own_and_leaves_nothing() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    assert!(workspace.is_alive());
    let result = workspace.execute("pwd; touch here; ls").await.unwrap();
    assert_eq!(said(&result), "/workspace\nhere\n");
    let output = workspace.command("pwd").unwrap().output().await.unwrap();
    assert_eq!(output.stdout.as_ref(), b"/workspace\n");
    assert_eq!(
        workspace.resolve("a/b"),
        std::path::Path::new("/workspace/a/b")
    );
    assert_eq!(workspace.resolve("/a"), std::path::Path::new("/a"));
    workspace.stop().await.unwrap();
    workspace.stop().await.unwrap();
    assert!(!workspace.is_alive());
    let error = workspace.execute("true").await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Instance(_)), "{error}");
    world.finish();
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let service = workspace.service().clone();
    let session = workspace.session("one").open().await.unwrap();
    drop(workspace);
    assert!(service.ended().await.is_final());
    assert!(!session.is_open());
    drop(session);
    world.finish();
}

#[tokio::test]
async fn what_is_written_has_room_on_disk() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    // Above the 64 MiB that Apptainer has for a layer in memory.
    let line = "dd if=/dev/zero of=big bs=1M count=100 2>/dev/null && wc -c <big";
    let result = workspace.execute(line).await.unwrap();
    assert_eq!(said(&result).trim(), "104857600");
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_is_as_it_was_asked_to_be() {
    let world = World::new().await;
    let shared = world.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("text"), "from the host").unwrap();
    let workspace = world
        .workspace()
        .working_dir("/data/deep")
        .mount_dir(&shared)
        .env("NAME", "a value")
        .port(Port::named("http").env("PORT"))
        .start()
        .await
        .unwrap();
    let port = workspace.port("http").unwrap();
    // Values may be keys: they are not shown.
    let shown = format!(
        "{workspace:?} {:?}",
        workspace.execute("env").env("NAME", "a value")
    );
    assert!(
        shown.contains("NAME") && !shown.contains("a value"),
        "{shown}"
    );
    let line = "pwd; cat text; echo; echo \"$NAME\"; echo \"$PORT\"; echo back >back";
    let result = workspace.execute(line).await.unwrap();
    let expected = format!("/data/deep\nfrom the host\na value\n{port}\n");
    assert_eq!(said(&result), expected);
    assert_eq!(
        std::fs::read_to_string(shared.join("back")).unwrap(),
        "back\n"
    );
    workspace.pause().await.unwrap();
    assert_eq!(workspace.state(), State::Paused);
    workspace.resume().await.unwrap();
    assert!(workspace.execute("true").await.unwrap().success());
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn it_can_be_built_first() {
    let world = World::new().await;
    if !fixtures::builds_images() {
        return;
    }
    let definition = Definition::from_image(fixtures::busybox_sif()).environment("BUILT", "yes");
    let workspace = world.workspace_of(definition).start().await.unwrap();
    let result = workspace.execute("echo $BUILT").await.unwrap();
    assert_eq!(said(&result), "yes\n");
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_started() {
    let world = World::new().await;
    let error = world.workspace().working_dir("here").start().await;
    assert!(
        matches!(error, Err(WorkspaceError::Relative { .. })),
        "{error:?}"
    );
    let missing = world.folder().join("missing.sif");
    let error = world.workspace_of(missing.as_path()).start().await;
    assert!(
        matches!(error, Err(WorkspaceError::Instance(_))),
        "{error:?}"
    );
    world.finish();
}
