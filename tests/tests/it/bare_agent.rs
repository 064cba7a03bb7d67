//! The agent by itself, on the host, at the other end of a pipe: what depends on the
//! processor and the kernel, and not on Apptainer. `scripts/test-vm` runs this, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use apptainer::exec::{StartStage, WindowSize};
use apptainer::sys::process::{Process, Signal, State};
use apptainer::{Link, Stdio as CommandStdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A link, and the agent that it leads to.
struct Agent {
    link: Link,
    process: std::process::Child,
    _folder: tempfile::TempDir,
}

impl Agent {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("agent");
        fs::write(&program, Link::agent_program().unwrap()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(&program);
        command.arg("stream").env("GIVEN", "yes");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Another test's child may just have been forked with the program open for writing.
        let mut process = loop {
            match command.spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                spawned => break spawned.unwrap(),
            }
        };
        let writer = process.stdin.take().unwrap();
        let reader = process.stdout.take().unwrap();
        let writer = tokio::net::unix::pipe::Sender::from_owned_fd(writer.into()).unwrap();
        let reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        Self {
            link: Link::over(reader, writer).await.unwrap(),
            process,
            _folder: folder,
        }
    }

    async fn finish(mut self) {
        self.link.close().await.unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

/// How many processes sleep for so long.
fn sleepers(seconds: &str) -> usize {
    let sleeps = |process: &&Process| {
        let words = Process::command_line(process.pid).unwrap();
        process.state != State::Zombie
            && process.name != "sh"
            && words.is_some_and(|words| words.iter().any(|word| word == seconds.as_bytes()))
    };
    Process::all().unwrap().iter().filter(sleeps).count()
}

async fn until_there_are(seconds: &str, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while sleepers(seconds) != count {
        assert!(
            Instant::now() < deadline,
            "{} and not {count}",
            sleepers(seconds)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn it_runs_commands_and_tells_how_they_end() {
    let agent = Agent::start().await;
    let script = "echo $GIVEN $SET; echo to err >&2; exit 42";
    let mut command = agent.link.command("sh");
    let output = command
        .args(["-c", script])
        .env("SET", "too")
        .output()
        .await;
    let output = output.unwrap();
    assert_eq!(&output.stdout[..], b"yes too\n");
    assert_eq!(&output.stderr[..], b"to err\n");
    assert_eq!(output.status.code(), Some(42));
    assert!(output.status.usage().max_resident > 0);

    let mut command = agent.link.command("sh");
    let output = command.args(["-c", "kill -9 $$"]).output().await.unwrap();
    assert_eq!(output.status.signal(), Some(Signal::KILL));

    let mut command = agent.link.command("pwd");
    let output = command.current_dir("/tmp").output().await.unwrap();
    assert_eq!(&output.stdout[..], b"/tmp\n");

    let mut command = agent.link.command("sh");
    command
        .args(["-c", "umask; ulimit -n; cut -d' ' -f19 /proc/self/stat"])
        .umask(0o27)
        .nice(3);
    command.rlimit(apptainer::exec::Resource::OpenFiles, 99, 100);
    let output = command.output().await.unwrap();
    assert_eq!(&output.stdout[..], b"0027\n99\n3\n");
    agent.finish().await;
}

#[tokio::test]
async fn it_tells_at_which_stage_a_command_could_not_be_started() {
    let agent = Agent::start().await;
    let missing = agent.link.command("/no/such/program").output().await;
    let missing = missing.unwrap_err();
    assert!(missing.is_command_not_found(), "{missing:?}");
    let directory = agent.link.command("/tmp").output().await.unwrap_err();
    assert!(directory.is_command_not_executable(), "{directory:?}");
    let mut command = agent.link.command("pwd");
    let nowhere = command.current_dir("/no/such").output().await.unwrap_err();
    match nowhere {
        apptainer::exec::ExecError::Start(error) => {
            assert_eq!(error.stage(), StartStage::Directory);
        }
        error => panic!("{error:?}"),
    }
    let mut command = agent.link.command("true");
    let long = command.arg("x".repeat(200_000)).output().await.unwrap_err();
    assert!(long.is_argument_list_too_long(), "{long:?}");
    agent.finish().await;
}

#[tokio::test]
async fn much_goes_both_ways() {
    let agent = Agent::start().await;
    let mut cat = agent.link.command("cat");
    cat.stdin(CommandStdio::piped())
        .stdout(CommandStdio::piped());
    let mut child = cat.stderr(CommandStdio::null()).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let sent: Vec<u8> = (0..251).cycle().take(4 << 20).collect();
    let mut received = Vec::new();
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    };
    let ((), read) = tokio::join!(write, stdout.read_to_end(&mut received));
    read.unwrap();
    assert!(sent == received, "{} and {}", sent.len(), received.len());
    assert!(child.wait().await.unwrap().success());
    agent.finish().await;
}

#[tokio::test]
async fn it_kills_all_that_a_command_started() {
    let agent = Agent::start().await;
    let seconds = format!("5{}", std::process::id());
    let script =
        "(setsid sleep $0 &); (env -i /bin/sh -c \"setsid /bin/sleep $0 &\"); exec sleep $0";
    let mut command = agent.link.command("sh");
    command.args(["-c", script, &seconds]);
    command
        .stdin(CommandStdio::null())
        .stdout(CommandStdio::null());
    let mut child = command.stderr(CommandStdio::null()).spawn().await.unwrap();
    until_there_are(&seconds, 3).await;
    child.kill().await.unwrap();
    assert_eq!(sleepers(&seconds), 0);
    agent.finish().await;
}

#[tokio::test]
async fn it_gives_a_command_a_terminal() {
    let agent = Agent::start().await;
    let mut command = agent.link.command("sh");
    command.args(["-c", "stty size; read line; echo got $line"]);
    command.terminal(WindowSize {
        rows: 12,
        columns: 34,
    });
    let mut child = command.spawn().await.unwrap();
    let mut terminal = child.terminal.take().unwrap();
    terminal.write_all(b"it\n").await.unwrap();
    let mut shown = String::new();
    terminal.read_to_string(&mut shown).await.unwrap();
    assert!(
        shown.contains("12 34\r\n") && shown.ends_with("got it\r\n"),
        "{shown:?}"
    );
    assert!(child.wait().await.unwrap().success());
    agent.finish().await;
}

#[tokio::test]
async fn it_ends_with_its_stream_and_takes_its_commands_along() {
    let agent = Agent::start().await;
    let seconds = format!("6{}", std::process::id());
    let mut command = agent.link.command("sleep");
    command.arg(&seconds).stdin(CommandStdio::null());
    command
        .stdout(CommandStdio::null())
        .stderr(CommandStdio::null());
    let child = command.spawn().await.unwrap();
    until_there_are(&seconds, 1).await;
    let Agent {
        link, mut process, ..
    } = agent;
    drop((child, command, link));
    // Here the runtime goes on: it is what closes the stream.
    let deadline = Instant::now() + Duration::from_secs(30);
    while process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it has not ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sleepers(&seconds), 0);
}
