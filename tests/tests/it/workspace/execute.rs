//! Shell lines.

use std::time::Duration;

use apptainer::exec::Source;
use apptainer::workspace::WorkspaceError;
use fixtures::World;

use super::said;

#[tokio::test]
async fn a_line_is_a_shell_line_with_a_shell_of_its_own() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let result = workspace
        .execute("echo out; echo err >&2; exit 3")
        .await
        .unwrap();
    assert_eq!(result.exit_code, 3);
    assert_eq!(result.stdout_text(), "out\n");
    assert_eq!(result.stderr_text(), "err\n");
    assert!(!result.timed_out);
    let result = workspace.execute("x=1; cd /; true").await.unwrap();
    assert!(result.success());
    let result = workspace.execute("echo \"[$x]\"; pwd").await.unwrap();
    assert_eq!(said(&result), "[]\n/workspace\n");
    let result = workspace.execute("kill -9 $$").await.unwrap();
    assert_eq!(result.exit_code, -9);
    let result = workspace.execute("mkdir sub").await.unwrap();
    assert!(result.success());
    let line = workspace.execute("pwd; echo $A").env("A", "b c");
    let result = line.current_dir("sub").await.unwrap();
    assert_eq!(said(&result), "/workspace/sub\nb c\n");
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_what_it_wrote_is_kept() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = workspace.execute("echo before; echo err >&2; sleep 1000; echo after");
    let result = line.timeout(Duration::from_millis(300)).await.unwrap();
    assert!(result.timed_out);
    assert_eq!(result.exit_code, -1);
    assert_eq!(result.stdout_text(), "before\n");
    assert_eq!(result.stderr_text(), "err\n");
    // All of it is gone.
    let left = workspace.execute("pgrep -x sleep").await.unwrap();
    assert_eq!(left.stdout_text(), "");
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_left_in_the_background_keeps_nobody_waiting() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = workspace.execute("sleep 1000 & echo $!");
    let result = line.timeout(Duration::from_secs(60)).await.unwrap();
    assert!(!result.timed_out);
    let pid = said(&result);
    assert!(
        workspace
            .execute(format!("kill {pid}"))
            .await
            .unwrap()
            .success()
    );
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_line_can_be_read_while_it_runs() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = "echo one; while ! test -e go; do sleep 0.01; done; echo two";
    let mut child = workspace.execute(line).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    let chunk = stream.next().await.unwrap().unwrap();
    assert_eq!(
        (chunk.source, &chunk.bytes[..]),
        (Source::Stdout, &b"one\n"[..])
    );
    assert!(workspace.execute("touch go").await.unwrap().success());
    let chunk = stream.next().await.unwrap().unwrap();
    assert_eq!(&chunk.bytes[..], b"two\n");
    assert!(child.wait().await.unwrap().success());
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_line_that_cannot_be_run_says_why() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let error = workspace.execute("a\0b").await.unwrap_err();
    assert!(matches!(error, WorkspaceError::Nul), "{error}");
    let line = workspace.execute("true").current_dir("/not/there");
    let error = line.await.unwrap_err();
    assert!(
        error.to_string().contains("change to its directory"),
        "{error}"
    );
    let session = workspace.session("one").shell("/not/there");
    let error = session.open().await.unwrap_err();
    assert!(matches!(error, WorkspaceError::NoShell { .. }), "{error}");
    workspace.stop().await.unwrap();
    world.finish();
}
