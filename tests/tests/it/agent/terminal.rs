//! Commands at a terminal of their own.

use std::time::Duration;

use apptainer::exec::{ChildTerminal, ExecError, Mechanism, WindowSize};
use apptainer::sys::process::Signal;
use apptainer::{Child, Command};
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ways::Ways;

const SIZE: WindowSize = WindowSize {
    rows: 33,
    columns: 101,
};

async fn at_terminal(command: &mut Command) -> (Child, ChildTerminal) {
    let mut child = command.terminal(SIZE).spawn().await.unwrap();
    let terminal = child.terminal.take().unwrap();
    assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
    (child, terminal)
}

/// What it shows, up to this.
async fn shown(terminal: &mut ChildTerminal, wanted: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let length = terminal.read_buf(&mut text).await.unwrap();
            assert!(length > 0, "it ended: {:?}", String::from_utf8_lossy(&text));
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(10), read).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(limit.is_ok(), "{wanted:?} never came: {text:?}");
    text
}

/// What it shows until its end.
async fn rest(terminal: &mut ChildTerminal) -> String {
    let mut text = String::new();
    let read = terminal.read_to_string(&mut text);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    read.expect("it comes to its end").unwrap();
    text
}

#[tokio::test]
async fn it_has_a_name_in_the_container_and_the_size_asked_for() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script =
            "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo >/dev/tty own";
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        let text = rest(&mut terminal).await;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("/dev/pts/"), "{way}: {text:?}");
        assert_eq!(lines[1..], ["33 101", "all", "own"], "{way}");
        assert!(child.wait().await.unwrap().success(), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn its_size_can_be_changed_and_the_command_hears_of_it() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.02; done";
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        shown(&mut terminal, "ready").await;
        assert_eq!(terminal.size().unwrap(), SIZE, "{way}");
        let size = WindowSize {
            rows: 5,
            columns: 40,
        };
        terminal.resize(size).unwrap();
        assert_eq!(terminal.size().unwrap(), size, "{way}");
        assert!(rest(&mut terminal).await.contains("5 40"), "{way}");
        assert_eq!(child.wait().await.unwrap().code(), Some(6), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_is_typed_is_read_and_echoed() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = r#"echo ready; read line; echo "got: $line"; cat; echo over"#;
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        shown(&mut terminal, "ready").await;
        terminal.write_all(b"some words\n").await.unwrap();
        let text = shown(&mut terminal, "got: some words").await;
        assert_eq!(
            text.matches("some words").count(),
            2,
            "{way}: echoed and read"
        );
        // Ctrl-D ends its input.
        terminal.write_all(&[4]).await.unwrap();
        assert!(rest(&mut terminal).await.contains("over"), "{way}");
        assert!(child.wait().await.unwrap().success(), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn ctrl_c_interrupts_what_is_in_the_foreground() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "echo ready; exec sleep 1000";
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        shown(&mut terminal, "ready").await;
        terminal.write_all(&[3]).await.unwrap();
        rest(&mut terminal).await;
        let status = child.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::INT), "{way}");
    }
    // A shell that runs programs, each in a group of its own, goes on.
    for (way, mut command) in ways.commands("sh") {
        let (mut child, mut terminal) = at_terminal(command.arg("-i")).await;
        terminal
            .write_all(b"echo begun; sleep 1000\n")
            .await
            .unwrap();
        shown(&mut terminal, "\nbegun").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        terminal.write_all(&[3]).await.unwrap();
        terminal.write_all(b"echo $((6 * 7))\n").await.unwrap();
        shown(&mut terminal, "42").await;
        terminal.write_all(b"exit 8\n").await.unwrap();
        rest(&mut terminal).await;
        assert_eq!(child.wait().await.unwrap().code(), Some(8), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn dropping_it_hangs_the_command_up() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "echo ready; exec sleep 1000";
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        shown(&mut terminal, "ready").await;
        drop(terminal);
        let status = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
        let status = status.expect("it ends").unwrap();
        assert_eq!(status.signal(), Some(Signal::HUP), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn killing_it_ends_what_it_shows() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "setsid sleep 1000 & echo ready; exec sleep 1000";
        let (mut child, mut terminal) = at_terminal(command.args(["-c", script])).await;
        shown(&mut terminal, "ready").await;
        child.kill().await.unwrap();
        assert_eq!(rest(&mut terminal).await.trim(), "", "{way}");
        assert_eq!(
            child.wait().await.unwrap().signal(),
            Some(Signal::KILL),
            "{way}"
        );
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_at_a_terminal_too() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("nosuch") {
        let error = command.terminal(SIZE).spawn().await.unwrap_err();
        assert!(error.is_command_not_found(), "{way}: {error:?}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn without_an_agent_there_is_none_and_it_says_what_takes_one() {
    let world = World::new().await;
    let container = world.container().await;
    let error = container
        .command("sh")
        .terminal(SIZE)
        .spawn()
        .await
        .unwrap_err();
    let is_told = matches!(
        error,
        ExecError::Unavailable {
            mechanism: Mechanism::Agent,
            needs: Some("terminal"),
        }
    );
    assert!(is_told, "{error:?}");
    world.finish();
}
