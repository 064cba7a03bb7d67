//! Shell lines by an agent server.

use std::time::{Duration, Instant};

use apptainer::agent_server::{AgentServer, AgentServerError};
use apptainer::workspace::CommandResult;
use fixtures::World;

fn said(result: &CommandResult) -> String {
    assert_eq!(result.exit_code, 0, "{result:?}");
    result.stdout_text()
}

#[tokio::test]
async fn lines_are_run_as_in_any_workspace() {
    let world = World::new().await;
    let server = world.agent_server().start().await.unwrap();
    how_they_end(&server).await;
    where_they_run(&server).await;
    what_takes_too_long_is_stopped(&server).await;
    what_is_not_waited_for_is_stopped(&server).await;
    much_output_is_whole(&server).await;
    what_they_write_is_told_meanwhile(&server).await;
    many_at_once(&server).await;
    what_cannot_be_is_told(&server).await;
    super::conversation::are_kept_and_told(&server).await;
    server.stop().await.unwrap();
    world.finish();
}

async fn how_they_end(server: &AgentServer) {
    let result = server.execute("echo out; echo err >&2; exit 3").await;
    let result = result.unwrap();
    assert_eq!(result.exit_code, 3);
    assert_eq!(result.stdout_text(), "out\n");
    assert_eq!(result.stderr_text(), "err\n");
    assert!(!result.timed_out);
    let result = server.execute("kill -9 $$").await.unwrap();
    assert_eq!(result.exit_code, -9);
    let result = server.execute("printf 'ä\\n'; true").await.unwrap();
    assert_eq!(said(&result), "ä\n");
}

async fn where_they_run(server: &AgentServer) {
    let result = server.execute("pwd; mkdir -p below").await.unwrap();
    assert_eq!(said(&result), "/workspace\n");
    for (path, expected) in [("below", "/workspace/below\n"), ("/usr", "/usr\n")] {
        let result = server.execute("pwd").current_dir(path).await.unwrap();
        assert_eq!(said(&result), expected);
    }
}

async fn what_takes_too_long_is_stopped(server: &AgentServer) {
    for limit in [Duration::from_millis(500), Duration::from_secs(1)] {
        let begun = Instant::now();
        let line = "echo before; echo oops >&2; sleep 77; echo after";
        let result = server.execute(line).timeout(limit).await.unwrap();
        assert!(begun.elapsed() >= limit, "{result:?}");
        assert_eq!((result.exit_code, result.timed_out), (-1, true));
        assert_eq!(result.stdout_text(), "before\n");
        assert_eq!(result.stderr_text(), "oops\n");
        assert!(!runs(server, "[s]leep 77").await);
    }
    let line = "sleep 0.3; echo in time";
    let limit = Duration::from_millis(20_500);
    let result = server.execute(line).timeout(limit).await.unwrap();
    assert_eq!(said(&result), "in time\n");
    assert!(!result.timed_out);
}

async fn what_is_not_waited_for_is_stopped(server: &AgentServer) {
    let waiting = server.execute("sleep 78").into_future();
    let waited = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(waited.is_err());
    let running = server.execute("sleep 79").start().await.unwrap();
    drop(running);
    while runs(server, "[s]leep 7[89]").await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let running = server.execute("echo begun; sleep 80").start().await;
    let running = running.unwrap();
    // Before that it might have no chance to write.
    while !runs(server, "[s]leep 80").await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await.unwrap();
    let result = running.wait().await.unwrap();
    assert_eq!((result.exit_code, result.timed_out), (-15, false));
    assert_eq!(result.stdout_text(), "begun\n");
}

/// Whether a program with such arguments runs where the server does, as the container itself sees it.
async fn runs(server: &AgentServer, pattern: &str) -> bool {
    let line = format!("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '{pattern}'");
    let workspace = server.workspace().unwrap();
    workspace.execute(line).await.unwrap().success()
}

async fn much_output_is_whole(server: &AgentServer) {
    let line = "seq 1 700000; seq 1 300000 >&2";
    let result = server.execute(line).await.unwrap();
    let numbers = |last: u32| {
        let lines = (1..=last).map(|number| format!("{number}\n"));
        lines.collect::<String>()
    };
    assert_eq!(result.exit_code, 0);
    // No diff of megabytes.
    assert!(result.stdout_text() == numbers(700_000));
    assert!(result.stderr_text() == numbers(300_000));
}

async fn what_they_write_is_told_meanwhile(server: &AgentServer) {
    let line = "head -c 1500000 /dev/zero | tr '\\0' x; read line </tmp/go; echo end";
    let fifo = server.execute("mkfifo /tmp/go").await.unwrap();
    assert!(fifo.success(), "{fifo:?}");
    let mut running = server.execute(line).start().await.unwrap();
    assert_eq!(running.id().len(), 32);
    let chunk = running.next().await.unwrap().unwrap();
    assert_eq!(chunk.stdout.len(), 1024 * 1024);
    assert!(server.execute("echo >/tmp/go").await.unwrap().success());
    let rest = running.wait().await.unwrap();
    assert_eq!(rest.stdout.len(), 1_500_000 - 1024 * 1024 + "end\n".len());
    assert!(rest.stdout.ends_with(b"xend\n"));
}

async fn many_at_once(server: &AgentServer) {
    let lines = (0..60).map(|number| {
        let server = server.clone();
        tokio::spawn(async move { server.execute(format!("echo {number}")).await })
    });
    for (number, line) in lines.collect::<Vec<_>>().into_iter().enumerate() {
        let result = line.await.unwrap().unwrap();
        assert_eq!(said(&result), format!("{number}\n"));
    }
}

async fn what_cannot_be_is_told(server: &AgentServer) {
    use std::os::unix::ffi::OsStrExt;
    let line = std::ffi::OsStr::from_bytes(b"echo \xff");
    let error = server.execute(line).await.unwrap_err();
    assert!(matches!(error, AgentServerError::Input { .. }), "{error}");
    let error = server.execute("a\0b").await.unwrap_err();
    assert!(matches!(error, AgentServerError::Input { .. }), "{error}");
    let error = server.execute("true").current_dir("missing").await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, AgentServerError::NotStarted { detail } if detail.contains("missing")),
        "{error}"
    );
}
