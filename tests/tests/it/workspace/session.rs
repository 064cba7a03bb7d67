//! Shells that keep their state.

use std::time::Duration;

use apptainer::workspace::{Session, Workspace, WorkspaceError};
use fixtures::World;

use super::said;

async fn open(workspace: &Workspace) -> Session {
    workspace.session("one").open().await.unwrap()
}

/// A workspace that has the image's shell, and the host's two.
async fn with_shells(world: &World) -> (Workspace, [&'static str; 3]) {
    let mut builder = world.workspace();
    for path in ["/usr", "/lib", "/lib64"] {
        builder = builder.with_spec(|spec| spec.bind_read_only(path, path));
    }
    let workspace = builder.start().await.unwrap();
    (workspace, ["/bin/sh", "/usr/bin/dash", "/usr/bin/bash"])
}

async fn open_shell(workspace: &Workspace, shell: &str) -> Session {
    let session = workspace.session(shell).shell(shell);
    session.open().await.unwrap()
}

#[tokio::test]
async fn what_one_line_does_the_next_one_finds() {
    let world = World::new().await;
    let (workspace, shells) = with_shells(&world).await;
    for shell in shells {
        let session = open_shell(&workspace, shell).await;
        let result = session.execute("pwd; echo err >&2").await.unwrap();
        assert_eq!(said(&result), "/workspace\n");
        assert_eq!(result.stderr_text(), "err\n", "{shell}");
        let result = session.execute("cd /tmp; x='a  b'; f() { echo \"f $x\"; return 7; }");
        assert_eq!(said(&result.await.unwrap()), "");
        let result = session.execute("pwd; f").await.unwrap();
        assert_eq!(
            (result.stdout_text(), result.exit_code),
            ("/tmp\nf a  b\n".to_owned(), 7)
        );
        let result = session.execute("echo $?").await.unwrap();
        assert_eq!(said(&result), "7\n");
        // More than one line, and what is read from behind.
        let lines = "for i in 1 2\ndo\necho $i\ndone\ncat <<END\nhere $x\nEND\n";
        let result = session.execute(lines).await.unwrap();
        assert_eq!(said(&result), "1\n2\nhere a  b\n");
        // What it runs does not read what is meant for the shell.
        let result = session.execute("cat; read y; echo \"[$y]\"").await.unwrap();
        assert_eq!(said(&result), "[]\n");
        let result = session.execute("").await.unwrap();
        assert_eq!(said(&result), "");
    }
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_line_that_is_wrong_is_an_error_and_no_end() {
    let world = World::new().await;
    let (workspace, shells) = with_shells(&world).await;
    for shell in shells {
        let session = open_shell(&workspace, shell).await;
        for line in [
            "if",
            "echo 'open",
            "${",
            ")",
            "nothing-of-this-name",
            ". /not/there",
            "cd /not/there",
        ] {
            let result = session.execute(line).await.unwrap();
            assert!(result.exit_code > 0, "{line}: {result:?}");
            assert_ne!(result.stderr_text(), "", "{line}");
        }
        let error = session.execute("a\0b").await.unwrap_err();
        assert!(matches!(error, WorkspaceError::Nul), "{error}");
        let result = session.execute("echo here").await.unwrap();
        assert_eq!(said(&result), "here\n");
    }
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_interrupt_ends_the_line_and_not_the_session() {
    let world = World::new().await;
    let (workspace, shells) = with_shells(&world).await;
    for shell in shells {
        let session = open_shell(&workspace, shell).await;
        for line in [
            "x=1; sh -c 'echo begun; exec sleep 1000'; echo after",
            "x=1; echo begun; while :; do sleep 0.01; done; echo after",
        ] {
            let mut run = session.execute(line).start().await.unwrap();
            let chunk = run.next().await.unwrap().unwrap();
            assert_eq!(&chunk.bytes[..], b"begun\n");
            let interrupts = async {
                loop {
                    session.interrupt().unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let result = tokio::select! {
                result = run.finish() => result.unwrap(),
                () = interrupts => unreachable!("it goes on"),
            };
            assert_eq!(
                (result.exit_code, result.stdout_text()),
                (130, String::new())
            );
            assert!(!result.timed_out);
        }
        let result = session.execute("echo $x").await.unwrap();
        assert_eq!(said(&result), "1\n");
        // What has ended cannot be interrupted, at whatever moment that comes.
        for _ in 0..50 {
            let running = session.execute("true");
            let (result, interrupted) = tokio::join!(running, async { session.interrupt() });
            interrupted.unwrap();
            let result = result.unwrap();
            assert!([0, 130].contains(&result.exit_code), "{shell}: {result:?}");
        }
    }
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_takes_too_long_is_interrupted_or_killed() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let session = open(&workspace).await;
    let limit = Duration::from_millis(200);
    let result = session
        .execute("x=1; echo before; sleep 1000")
        .timeout(limit)
        .await
        .unwrap();
    assert!(result.timed_out);
    assert_eq!(
        (result.exit_code, result.stdout_text()),
        (-1, "before\n".to_owned())
    );
    assert_eq!(said(&session.execute("echo $x").await.unwrap()), "1\n");
    let line = "echo before; (trap '' INT; sleep 1000); echo after";
    let result = session.execute(line).timeout(limit).await.unwrap();
    assert!(result.timed_out);
    assert_eq!(
        (result.exit_code, result.stdout_text()),
        (-1, "before\n".to_owned())
    );
    assert!(!session.is_open());
    let error = session.execute("true").await.unwrap_err();
    assert!(
        matches!(error, WorkspaceError::SessionEnded { .. }),
        "{error}"
    );
    // Nothing of it is left, and its name is free.
    assert!(!workspace.execute("pgrep -x sleep").await.unwrap().success());
    assert!(workspace.find_session("one").is_none());
    open(&workspace).await;
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_line_that_is_given_up_is_interrupted_and_holds_up_nobody() {
    let world = World::new().await;
    let (workspace, shells) = with_shells(&world).await;
    for shell in shells {
        let session = open_shell(&workspace, shell).await;
        for millis in [0, 1, 2, 5, 20, 100] {
            let line = session.execute("echo lost; sleep 1000; echo more");
            let late = Duration::from_millis(millis);
            assert!(tokio::time::timeout(late, line).await.is_err());
            let result = session.execute("echo next").await.unwrap();
            assert_eq!(said(&result), "next\n", "after {millis} ms");
        }
    }
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn much_is_written_and_read_without_harm() {
    let world = World::new().await;
    let (workspace, shells) = with_shells(&world).await;
    for shell in shells {
        let session = open_shell(&workspace, shell).await;
        let line =
            "head -c 8000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2";
        let result = session.execute(line).await.unwrap();
        assert_eq!(
            (result.stdout.len(), result.stderr.len()),
            (8_000_000, 3_000_000)
        );
        assert!(result.stdout.iter().all(|byte| *byte == b'x'));
        let text = "y".repeat(300_000);
        let result = session
            .execute(format!("x={text}; echo ${{#x}}"))
            .await
            .unwrap();
        assert_eq!(said(&result), "300000\n");
        let result = session
            .execute(b"printf '\xff\xfe'".to_vec())
            .await
            .unwrap();
        assert_eq!(&result.stdout[..], b"\xff\xfe");
    }
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_shell_that_exits_ends_its_session() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    for (line, code) in [
        ("echo bye; exit 3", 3),
        ("set -e; false", 1),
        ("kill -9 $$", -9),
        ("kill $$", 143),
    ] {
        let session = open(&workspace).await;
        let result = session.execute(line).await.unwrap();
        assert_eq!(result.exit_code, code, "{line}");
        let error = session.execute("true").await.unwrap_err();
        assert!(
            matches!(error, WorkspaceError::SessionEnded { .. }),
            "{error}"
        );
        assert!(!session.is_open());
    }
    let session = open(&workspace).await;
    let error = workspace.session("one").open().await.unwrap_err();
    assert!(
        matches!(error, WorkspaceError::SessionExists { .. }),
        "{error}"
    );
    let other = workspace.session("two").current_dir("/tmp").env("A", "b");
    let other = other.open().await.unwrap();
    assert_eq!(
        said(&other.execute("pwd; echo $A").await.unwrap()),
        "/tmp\nb\n"
    );
    session.close().await.unwrap();
    session.close().await.unwrap();
    assert!(other.is_open());
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_no_shell_is_refused() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    for program in ["/bin/false", "/bin/cat"] {
        let error = workspace
            .session("one")
            .shell(program)
            .open()
            .await
            .unwrap_err();
        assert!(matches!(error, WorkspaceError::NotAShell { .. }), "{error}");
    }
    workspace.stop().await.unwrap();
    world.finish();
}
