//! Links over a stream of bytes: what `ssh` or `srun` would carry, an `apptainer exec` does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use apptainer::exec::{ChildTerminal, ExecError, LinkError, Source, StartStage, WindowSize};
use apptainer::sys::process::{Process, Signal};
use apptainer::{Child, Command, Container, Link, Stdio};
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Long enough for anything here.
const GUARD: Duration = Duration::from_secs(60);

/// A link, and what carries it.
struct Far {
    link: Link,
    carrier: Child,
}

impl Far {
    async fn of(world: &World) -> Self {
        Self::over(&world.container().await, world).await
    }

    async fn over(container: &Container, world: &World) -> Self {
        let agent = world.folder().join("agent");
        fs::write(&agent, Link::agent_program().unwrap()).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        let mut carrier = container
            .command(&agent)
            .arg("stream")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let reader = carrier.stdout.take().unwrap();
        let writer = carrier.stdin.take().unwrap();
        let link = Link::over(reader, writer).await.unwrap();
        Self { link, carrier }
    }

    /// Says goodbye. The agent ends by itself.
    async fn close(mut self) {
        self.link.close().await.unwrap();
        assert!(ended(&mut self.carrier).await.success());
    }
}

async fn ended(child: &mut Child) -> apptainer::ExitStatus {
    timeout(GUARD, child.wait())
        .await
        .expect("it ends")
        .unwrap()
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn sh(link: &Link, script: &str) -> Command {
    let mut command = link.command("sh");
    command.args(["-c", script]);
    command
}

/// Bytes in which whatever is lost, doubled or in another order shows.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

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
async fn much_goes_up_and_comes_down_as_it_was() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut child = piped(&mut far.link.command("cat")).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let sent = bytes(64 << 20);
    let mut received = Vec::with_capacity(sent.len());
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    };
    let both = async { tokio::join!(write, stdout.read_to_end(&mut received)) };
    let ((), read) = timeout(2 * GUARD, both).await.expect("it goes on");
    assert_eq!(read.unwrap(), sent.len());
    assert!(received == sent, "they differ");
    assert!(ended(&mut child).await.success());
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_itself_alone() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut idle = sh(&far.link, "cat /dev/zero");
    let mut idle = piped(&mut idle).spawn().await.unwrap();
    let mut unread = idle.stdout.take().unwrap();
    unread.read_exact(&mut [0; 1]).await.unwrap();
    // Nor does one that nobody reads in the container.
    let mut deaf = sh(&far.link, "sleep 1000");
    let mut deaf = piped(&mut deaf).spawn().await.unwrap();
    let mut unheard = deaf.stdin.take().unwrap();
    let stuck = timeout(
        Duration::from_millis(300),
        unheard.write_all(&bytes(4 << 20)),
    )
    .await;
    assert!(stuck.is_err(), "somebody has read it");

    let mut busy = far.link.command("dd");
    busy.args(["if=/dev/zero", "bs=1M", "count=64"]);
    let output = timeout(GUARD, busy.output()).await.expect("it goes on");
    assert_eq!(output.unwrap().stdout.len(), 64 << 20);
    assert!(
        sh(&far.link, "exit 0")
            .output()
            .await
            .unwrap()
            .status
            .success()
    );

    // And it goes on when it is read.
    let mut rest = vec![0; 8 << 20];
    let read = timeout(GUARD, unread.read_exact(&mut rest)).await;
    read.expect("it goes on").unwrap();
    idle.kill().await.unwrap();
    deaf.kill().await.unwrap();
    drop((idle, deaf));
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_reader_that_stops_makes_the_command_wait() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let count = world.folder().join("count");
    // Counts what it has written, in a file that we can see.
    let script = format!(
        "i=0; while :; do printf '%01023d\\n' 0; i=$((i+1)); echo $i > {}; done",
        count.display()
    );
    let mut command = sh(&far.link, &script);
    let mut child = piped(&mut command).spawn().await.unwrap();
    let count = || {
        let text = fs::read_to_string(&count).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let stopped = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = count();
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    let written = timeout(GUARD, stopped).await.expect("it stops");
    // A window here, and a pipe of as much there.
    assert!(written <= 600, "{written} KiB went nowhere");
    child.kill().await.unwrap();
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn standard_input_ends_when_it_is_dropped_and_output_goes_on() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "cat; echo ended; cat /dev/zero | head -c 300000");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(b"first").await.unwrap();
    let mut echoed = [0; 5];
    stdout.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"first");
    drop(stdin);
    let mut rest = Vec::new();
    timeout(GUARD, stdout.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(&rest[..6], b"ended\n");
    assert_eq!(rest.len(), 6 + 300_000);
    assert!(ended(&mut child).await.success());
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_reader_or_writer_that_goes_away_breaks_a_pipe() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "while :; do echo y || exit 5; done");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).await.unwrap();
    drop(stdout);
    assert!(!ended(&mut child).await.success());

    let mut command = sh(&far.link, "exec <&-; sleep 1000");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = async {
        loop {
            if let Err(error) = stdin.write_all(b"nobody reads this").await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let error = timeout(GUARD, written).await.expect("it breaks");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    child.kill().await.unwrap();
    drop(child);
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

/// How many processes there are that sleep for so long.
fn sleeping(seconds: &str) -> usize {
    let processes = Process::all().unwrap();
    let argv = |process: &Process| fs::read(format!("/proc/{}/cmdline", process.pid));
    let is_one = |line: Vec<u8>| line == format!("sleep\0{seconds}\0").as_bytes();
    let found = processes
        .iter()
        .filter(|process| argv(process).is_ok_and(is_one));
    found.count()
}

async fn until_sleeping(seconds: &str, count: usize) {
    let counted = async {
        while sleeping(seconds) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(GUARD, counted).await;
    waited.unwrap_or_else(|_| panic!("{} of {count} sleep", sleeping(seconds)));
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

#[tokio::test]
async fn a_dropped_command_is_killed_whoever_reads_what_it_writes() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "echo out; sleep 4712; :");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    until_sleeping("4712", 1).await;
    drop(child);
    until_sleeping("4712", 0).await;
    let mut text = String::new();
    let read = timeout(GUARD, stdout.read_to_string(&mut text)).await;
    read.expect("it ends").unwrap();
    assert_eq!(text, "out\n");

    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stream = child.stream().unwrap();
    until_sleeping("4712", 1).await;
    drop(child);
    until_sleeping("4712", 0).await;
    let collected = async { while stream.next().await.is_some() {} };
    timeout(GUARD, collected).await.expect("it ends");
    far.close().await;
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

#[tokio::test]
async fn goodbye_ends_what_runs_and_tells_it() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let clone = link.clone();
    let mut command = sh(&link, "setsid sleep 4714 & echo ready; wait");
    let mut child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4714", 1).await;
    timeout(GUARD, link.close())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(sleeping("4714"), 0);
    assert!(child.wait().await.unwrap_err().is_lost());
    assert!(clone.command("true").output().await.unwrap_err().is_lost());
    assert!(matches!(clone.ping().await.unwrap_err(), LinkError::Lost));
    assert!(ended(&mut carrier).await.success());
    clone.close().await.unwrap();
    drop((child, command, carrier));
    world.finish();
}

#[tokio::test]
async fn a_stream_that_is_cut_leaves_nothing_running() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let mut command = sh(&link, "setsid sleep 4715 & cat /dev/zero; wait");
    let child = piped(&mut command).spawn().await.unwrap();
    until_sleeping("4715", 1).await;
    // The pipes are closed; what carries them is told nothing.
    drop((link, command));
    drop(child);
    ended(&mut carrier).await;
    assert_eq!(sleeping("4715"), 0);
    drop(carrier);
    world.finish();
}

#[tokio::test]
async fn an_agent_that_is_gone_is_a_lost_link() {
    let world = World::new().await;
    let Far { link, mut carrier } = Far::of(&world).await;
    let mut reading = sh(&link, "cat /dev/zero");
    let mut child = piped(&mut reading).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1]).await.unwrap();
    let mut waiting = sh(&link, "sleep 4716; :");
    let output = waiting.output();
    let kill = async {
        until_sleeping("4716", 1).await;
        carrier.kill().await.unwrap();
    };
    let both = async { tokio::join!(output, kill) };
    let (output, ()) = timeout(GUARD, both).await.expect("it is noticed");
    let error = output.unwrap_err();
    assert!(matches!(error, ExecError::Link(LinkError::Lost)), "{error}");
    let read = timeout(GUARD, stdout.read_to_end(&mut Vec::new())).await;
    let error = read.expect("it is noticed").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = child.wait().await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_eq!(sleeping("4716"), 0);
    assert!(link.command("true").output().await.unwrap_err().is_lost());
    drop((child, reading, waiting, link, carrier));
    world.finish();
}

#[tokio::test]
async fn many_commands_share_one_stream() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u32 {
        let link = far.link.clone();
        tasks.spawn(async move {
            let script = format!("head -c {} /dev/zero; exit {}", number * 1000, number % 100);
            let output = sh(&link, &script).output().await.unwrap();
            assert_eq!(output.stdout.len(), number as usize * 1000);
            assert_eq!(output.status.code(), Some(number as i32 % 100));
        });
    }
    let all = timeout(2 * GUARD, tasks.join_all()).await;
    assert_eq!(all.expect("they end").len(), 200);
    far.close().await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_go_both_ways_at_once() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=16 {
        let link = far.link.clone();
        tasks.spawn(async move {
            let mut command = sh(&link, "tee /dev/stderr");
            let mut child = piped(&mut command).spawn().await.unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            let mut stderr = child.stderr.take().unwrap();
            let sent = bytes(number * 100_003);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let write = async {
                // In parts of all sizes, small ones too.
                for part in sent.chunks(1 << number) {
                    stdin.write_all(part).await.unwrap();
                }
                drop(stdin);
            };
            let read =
                async { tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
            let ((), read) = tokio::join!(write, read);
            (read.0.unwrap(), read.1.unwrap());
            assert!(out == sent && err == sent, "{number}: they differ");
            assert!(child.wait().await.unwrap().success());
        });
    }
    let all = timeout(2 * GUARD, tasks.join_all()).await;
    assert_eq!(all.expect("they end").len(), 16);
    far.close().await;
    world.finish();
}
