//! Commands over a stream: as over any link.

use std::fs;
use std::time::Duration;

use apptainer::Stdio;
use apptainer::exec::{ChildTerminal, ExecError, Source, StartStage, WindowSize};
use apptainer::sys::process::Signal;
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Far, GUARD, ended, piped, sh, sleeping, until_sleeping};

#[tokio::test]
async fn outputs_and_exit_code_come_back_each_by_itself() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    far.link.ping().await.unwrap();
    let mut command = sh(&far.link, "echo out; echo err >&2; exit 7");
    for _ in 0..3 {
        let output = command.output().await.unwrap();
        assert_eq!(&output.stdout[..], b"out\n");
        assert_eq!(&output.stderr[..], b"err\n");
        assert_eq!(output.status.code(), Some(7));
        assert!(!output.timed_out && !output.is_cut);
    }
    let output = sh(&far.link, "kill -TERM $$").output().await.unwrap();
    assert_eq!(output.status.signal(), Some(Signal::TERM));
    assert_eq!(far.link.pid(), None);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn arguments_directory_and_variables_arrive_however_long() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    // More than one message holds, and more than one frame.
    let long = "x".repeat(100_000);
    let output = sh(&far.link, "echo $PWD $A ${#1} ${#2}")
        .args(["sh", &long, &long])
        .current_dir("/var/tmp")
        .env("A", "a value")
        .output()
        .await
        .unwrap();
    assert_eq!(&output.stdout[..], b"/var/tmp a value 100000 100000\n");
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn what_cannot_be_started_says_at_which_stage() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut missing = far.link.command("no-such-program");
    let error = missing.output().await.unwrap_err();
    assert!(error.is_command_not_found(), "{error}");
    let error = piped(&mut missing).spawn().await.unwrap_err();
    assert!(error.is_command_not_found(), "{error}");
    let error = far.link.command("/etc/passwd").output().await.unwrap_err();
    assert!(error.is_command_not_executable(), "{error}");
    let mut nowhere = far.link.command("true");
    let error = nowhere.current_dir("/nowhere").output().await.unwrap_err();
    assert!(error.is_working_directory(), "{error}");
    let mut long = far.link.command("true");
    let error = long.arg("x".repeat(1 << 20)).output().await.unwrap_err();
    assert!(
        matches!(&error, ExecError::Start(error) if error.stage() == StartStage::Exec),
        "{error}"
    );
    assert!(error.is_argument_list_too_long(), "{error}");
    assert!(
        far.link
            .command("true")
            .output()
            .await
            .unwrap()
            .status
            .success()
    );
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn what_a_stream_cannot_carry_is_refused() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let error = far.link.command("true").status().await.unwrap_err();
    assert!(
        matches!(error, ExecError::NotCarried { stream: "stdin" }),
        "{error}"
    );
    let file = fs::File::create(world.folder().join("file")).unwrap();
    let mut command = far.link.command("true");
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(Stdio::null());
    let error = command.spawn().await.unwrap_err();
    assert!(
        matches!(error, ExecError::NotCarried { stream: "stdout" }),
        "{error}"
    );
    command.stdout(Stdio::null());
    assert!(command.status().await.unwrap().success());
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn output_streams_as_it_is_written_and_what_is_left_behind_cuts_it() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(
        &far.link,
        "echo a; sleep 0.3; echo b >&2; sleep 0.3; echo c",
    );
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    let mut seen = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        seen.push((chunk.source, chunk.bytes.to_vec()));
    }
    let expected = [
        (Source::Stdout, b"a\n".to_vec()),
        (Source::Stderr, b"b\n".to_vec()),
        (Source::Stdout, b"c\n".to_vec()),
    ];
    assert_eq!(seen, expected);
    assert!(!stream.is_cut());
    assert!(child.wait().await.unwrap().success());
    drop((stream, child));

    let script = "sleep 1000 & head -c 3000000 /dev/zero; echo end";
    let output = timeout(GUARD, sh(&far.link, script).output()).await;
    let output = output.expect("it ends").unwrap();
    assert!(output.is_cut);
    assert_eq!(
        output.stdout.len(),
        3_000_004,
        "what the command wrote is all there"
    );
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn time_that_is_over_ends_a_command_with_its_output_so_far() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let script = "trap 'echo trapped; exit 4' TERM; echo begun; while :; do sleep 0.1; done";
    let mut command = sh(&far.link, script);
    let output = command
        .timeout(Duration::from_millis(500))
        .output()
        .await
        .unwrap();
    assert!(output.timed_out);
    assert_eq!(&output.stdout[..], b"begun\ntrapped\n");
    assert_eq!(output.status.code(), Some(4));

    let mut command = sh(
        &far.link,
        "trap '' TERM; echo begun; while :; do sleep 0.1; done",
    );
    command
        .timeout(Duration::from_millis(500))
        .grace(Duration::from_millis(200));
    let output = timeout(GUARD, command.output())
        .await
        .expect("it ends")
        .unwrap();
    assert!(output.timed_out);
    assert_eq!(output.status.signal(), Some(Signal::KILL));
    assert_eq!(&output.stdout[..], b"begun\n");
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn signals_reach_the_command_and_a_kill_its_whole_tree() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let script = "trap 'echo hup; exit 3' HUP; echo ready; while :; do sleep 0.05; done";
    let mut command = sh(&far.link, script);
    let mut child = piped(&mut command).spawn().await.unwrap();
    assert!(child.id().is_some());
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 6]).await.unwrap();
    child.signal(Signal::HUP).unwrap();
    assert_eq!(ended(&mut child).await.code(), Some(3));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hup\n");
    drop((child, stdout));

    let tree = "sleep 4711 & (setsid sleep 4711 &) ; setsid sh -c 'sleep 4711; :' & wait";
    let mut command = sh(&far.link, tree);
    let mut child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4711", 3).await;
    child.kill().await.unwrap();
    assert_eq!(sleeping("4711"), 0);
    assert_eq!(ended(&mut child).await.signal(), Some(Signal::KILL));
    drop(child);

    let child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4711", 3).await;
    drop(child);
    until_sleeping("4711", 0).await;

    let child = piped(command.kill_on_drop(false)).spawn().await.unwrap();
    until_sleeping("4711", 3).await;
    drop(child);
    far.link.ping().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sleeping("4711"), 3, "it was let go");
    far.close().await;
    assert_eq!(sleeping("4711"), 0, "and ends with its link");
    world.finish();
}

/// Reads a terminal until it has shown this.
async fn shown(terminal: &mut ChildTerminal, wanted: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let length = terminal.read_buf(&mut text).await.unwrap();
            assert!(length > 0, "{:?}", String::from_utf8_lossy(&text));
        }
    };
    let read = timeout(GUARD, read).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(read.is_ok(), "{wanted:?} is not in {text:?}");
    text
}

#[tokio::test]
async fn a_terminal_is_typed_at_resized_and_hung_up() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut size = WindowSize::default();
    (size.rows, size.columns) = (24, 80);
    let script = "trap 'stty size; echo resized' WINCH; stty size; echo ready; \
                  while :; do read -r line && echo got $line; done";
    let mut command = sh(&far.link, script);
    let mut child = command.terminal(size).spawn().await.unwrap();
    assert!(child.stdin.is_none() && child.stdout.is_none());
    let mut terminal = child.terminal.take().unwrap();
    assert!(shown(&mut terminal, "ready").await.contains("24 80"));
    assert_eq!(terminal.size().unwrap(), size);
    (size.rows, size.columns) = (50, 132);
    terminal.resize(size).unwrap();
    assert_eq!(terminal.size().unwrap(), size);
    terminal.write_all(b"typed\n").await.unwrap();
    shown(&mut terminal, "got typed").await;
    let output = sh(&far.link, "true").output().await.unwrap();
    assert!(output.status.success());
    terminal.write_all(b"\x03").await.unwrap();
    assert_eq!(ended(&mut child).await.signal(), Some(Signal::INT));
    let mut rest = String::new();
    terminal.read_to_string(&mut rest).await.unwrap();
    drop((child, terminal));

    let mut command = sh(&far.link, "stty size; sleep 4713; stty size");
    let mut child = command.terminal(size).spawn().await.unwrap();
    let mut terminal = child.terminal.take().unwrap();
    shown(&mut terminal, "50 132").await;
    until_sleeping("4713", 1).await;
    drop(terminal);
    assert_eq!(ended(&mut child).await.signal(), Some(Signal::HUP));
    drop(child);
    far.close().await;
    world.finish();
}
