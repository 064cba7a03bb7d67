//! The streams of commands over an agent.

use std::fs;
use std::time::Duration;

use apptainer::Stdio;
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::processes::memory;
use super::ways::Ways;

#[tokio::test]
async fn a_command_that_closes_its_streams_lives_on() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let script = "echo last; exec <&- >&- 2>&-; until [ -e $0 ]; do sleep 0.02; done; exit 3";
    for (way, mut command) in ways.commands("sh") {
        let go = world.folder().join(way);
        command.args(["-c", script]).arg(&go);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        let last = stream.next().await.unwrap().unwrap();
        assert_eq!(last.bytes, "last\n", "{way}");
        assert!(stream.next().await.is_none(), "{way}: its output ends");
        assert!(!stream.is_cut(), "{way}");
        assert_eq!(child.try_wait().unwrap(), None, "{way}: it does not");
        fs::write(&go, "").unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn input_that_is_closed_leaves_the_output_open() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        command.args(["-c", "cat; sleep 0.2; echo end; echo err >&2; exit 4"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"given\n").await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.stdout, "given\nend\n", "{way}");
        assert_eq!(output.stderr, "err\n", "{way}");
        assert_eq!(output.status.code(), Some(4), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn output_without_an_end_or_a_newline_waits_for_a_reader_that_stops() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        // On standard error too, of which nothing is kept for messages here.
        command.args([
            "-c",
            "tr '\\0' x </dev/zero >&2 & exec tr '\\0' x </dev/zero",
        ]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        let mut length = 0;
        while length < 8 << 20 {
            let chunk = stream.next().await.unwrap().unwrap();
            assert!(chunk.bytes.iter().all(|byte| *byte == b'x'), "{way}");
            length += chunk.bytes.len();
        }
        let me = apptainer::sys::process::Pid::try_from(std::process::id()).unwrap();
        let before = memory(me, "VmRSS");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let grown = memory(me, "VmRSS").saturating_sub(before);
        assert!(grown < 1 << 20, "{way}: {grown} bytes");
        // The agent serves others meanwhile.
        assert!(ways.link.command("true").status().await.unwrap().success());
        assert!(
            ways.instance
                .command("true")
                .status()
                .await
                .unwrap()
                .success()
        );
        assert!(stream.next().await.is_some(), "{way}: and it goes on");
        child.kill().await.unwrap();
        drop(stream);
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn much_goes_in_while_much_comes_out() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let bytes: Vec<u8> = (0..20_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for (way, mut command) in ways.commands("cat") {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let write = async {
            stdin.write_all(&bytes).await.unwrap();
            drop(stdin);
        };
        let mut read = Vec::new();
        let ((), length) = tokio::join!(write, stdout.read_to_end(&mut read));
        length.unwrap();
        assert!(read == bytes, "{way}");
        assert!(child.wait().await.unwrap().success(), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn one_pipe_can_be_both_outputs() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let (reader, writer) = apptainer::sys::process::pipe(None).unwrap();
        command
            .args(["-c", "echo out; echo err >&2; echo out"])
            .stdout(writer.try_clone().unwrap())
            .stderr(writer);
        assert!(command.status().await.unwrap().success(), "{way}");
        drop(command);
        let text = std::io::read_to_string(std::fs::File::from(reader)).unwrap();
        assert_eq!(text, "out\nerr\nout\n", "{way}");
    }
    ways.finish(world).await;
}
