//! Output as it is written.

use std::time::{Duration, Instant};

use apptainer::exec::Source;
use apptainer::sys::process::{Process, State};
use apptainer::{Command, Stdio};
use fixtures::World;
use tokio::io::AsyncReadExt;

fn piped(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::piped()).stderr(Stdio::piped())
}

#[tokio::test]
async fn chunks_come_as_they_are_written_and_say_from_where() {
    let world = World::new().await;
    let container = world.container().await;
    let mut command = container.command("sh");
    command.args(["-c", "echo a; sleep 0.3; echo b >&2; sleep 0.3; echo c"]);
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    let mut seen = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        seen.push((
            chunk.source,
            String::from_utf8(chunk.bytes.to_vec()).unwrap(),
        ));
    }
    let expected = [
        (Source::Stdout, "a\n"),
        (Source::Stderr, "b\n"),
        (Source::Stdout, "c\n"),
    ];
    let expected = expected.map(|(source, text)| (source, text.to_owned()));
    assert_eq!(seen, expected);
    assert!(!stream.is_cut());
    assert!(child.wait().await.unwrap().success());
    world.finish();
}

#[tokio::test]
async fn any_bytes_come_through_in_order() {
    let world = World::new().await;
    let container = world.container().await.bind(world.folder(), "/work");
    let mut bytes = vec![0; 3_000_001];
    let mut state = 1_u32;
    for byte in &mut bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    std::fs::write(world.folder().join("random"), &bytes).unwrap();
    let output = container
        .command("cat")
        .arg("/work/random")
        .output()
        .await
        .unwrap();
    assert!(output.stdout == bytes, "they differ");
    world.finish();
}

#[tokio::test]
async fn a_gibibyte_streams_without_being_held_in_memory() {
    const LENGTH: u64 = 1 << 30;
    let world = World::new().await;
    let container = world.container().await;
    let mut command = container.command("dd");
    command.args(["if=/dev/zero", "bs=1M", "count=1024"]);
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    let (mut length, mut is_zero) = (0, true);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        if chunk.source == Source::Stdout {
            length += chunk.bytes.len() as u64;
            is_zero &= chunk.bytes.iter().all(|byte| *byte == 0);
        }
    }
    assert_eq!(length, LENGTH);
    assert!(is_zero);
    assert!(child.wait().await.unwrap().success());
    assert!(peak_memory() < 256 << 20, "{} bytes", peak_memory());
    world.finish();
}

/// The most memory that this process has had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_reader_that_stops_makes_the_command_wait() {
    let world = World::new().await;
    let container = world.container().await.bind(world.folder(), "/work");
    // Counts what it has written, in a file that we can see.
    let script = "i=0; while :; do printf '%01023d\\n' 0; i=$((i+1)); echo $i > /work/count; done";
    let mut command = container.command("sh");
    let mut child = piped(command.args(["-c", script])).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    assert!(stream.next().await.is_some());
    let count = || {
        let text = std::fs::read_to_string(world.folder().join("count")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let mut before = count();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = count();
        if now == before && now > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "it goes on writing");
        before = now;
    }
    // A pipe of 256 KiB, and one chunk of at most as much.
    assert!(before * 1024 <= 600 * 1024, "{before} KiB went nowhere");
    assert!(stream.next().await.is_some(), "and goes on when it is read");
    child.kill().await.unwrap();
    drop(stream);
    world.finish();
}

#[tokio::test]
async fn a_reader_that_goes_away_breaks_the_commands_pipe() {
    let world = World::new().await;
    let container = world.container().await;
    let mut child = container
        .command("sh")
        .args(["-c", "while :; do echo y || exit 5; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .await
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).await.unwrap();
    drop(stdout);
    let status = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    let status = status.expect("it ends").unwrap();
    assert!(!status.success(), "{status}");
    world.finish();
}

#[tokio::test]
async fn a_slow_reader_gets_all_that_the_command_wrote() {
    let world = World::new().await;
    let container = world.container().await;
    let mut command = container.command("sh");
    command.args(["-c", "head -c 200000 /dev/zero; sleep 60 & exit 0"]);
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    // Long after the command has ended and its grace has passed.
    assert!(child.wait().await.unwrap().success());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        length += chunk.unwrap().bytes.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(length, 200_000);
    assert!(stream.is_cut(), "the sleep still holds the output");
    end_orphan("sleep");
    world.finish();
}

/// In a container without a PID namespace of its own, what a command leaves in the
/// background is nobody's.
fn end_orphan(name: &str) {
    let me = i32::try_from(std::process::id()).unwrap();
    let orphans = Process::all().unwrap();
    let orphan = orphans.iter().find(|process| {
        process.parent == me && process.name == name && process.state != State::Zombie
    });
    let pidfd = apptainer::sys::process::PidFd::open(orphan.unwrap().pid).unwrap();
    pidfd.signal(apptainer::sys::process::Signal::KILL).unwrap();
}
