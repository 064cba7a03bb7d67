use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use apptainer_sys::process::{Pid, PidFd, Signal};

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Spawn {
    let mut spawn = Spawn::new("/bin/sh");
    spawn.args(["-c", script]).stdout(Stdio::pipe());
    spawn
}

async fn run(script: &str, limit: Duration) -> Result<Ended, RunError<Infallible>> {
    let run = Run {
        deadline: Instant::now() + limit,
        stdout: Keep::Whole(16 << 20),
        heard: &mut |_| (),
    };
    run.run(|| Ok(shell(script)), ()).await
}

fn pid(text: &str) -> Pid {
    Pid::try_from(text.trim().parse::<u32>().unwrap()).unwrap()
}

#[tokio::test]
async fn what_a_run_writes_and_how_it_ends_is_kept() {
    let script = "echo out; echo 'FATAL:   no' >&2; exit 255";
    let captured = run(script, LONG).await.unwrap();
    assert_eq!(captured.stdout, b"out\n");
    assert_eq!(captured.exit, Exit::Code(255));
    let failure = captured.into_failure();
    assert_eq!(failure.failure.message, "no");
    assert_eq!(failure.stderr, "FATAL:   no\n");
}

#[tokio::test]
async fn more_than_a_pipe_holds_is_read_whole() {
    let script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
    let captured = run(script, LONG).await.unwrap();
    assert_eq!(captured.stdout.len(), 3_000_000);
    assert!(captured.exit.success());
}

#[tokio::test]
async fn a_helper_that_outlives_it_is_not_waited_for() {
    let captured = run("sleep 300 & echo $!", LONG).await.unwrap();
    let helper = PidFd::open(pid(&String::from_utf8(captured.stdout).unwrap())).unwrap();
    helper.signal(Signal::KILL).unwrap();
}

#[tokio::test]
async fn what_takes_too_long_or_writes_without_end_is_given_up() {
    let late = run("exec sleep 300", Duration::from_millis(100)).await;
    assert!(matches!(late, Err(RunError::TimedOut)));
    let endless = run("exec yes", LONG).await;
    assert!(matches!(endless, Err(RunError::Io(_))));
}

#[tokio::test]
async fn of_what_is_endless_the_end_is_kept() {
    let run = Run {
        deadline: Instant::now() + LONG,
        stdout: Keep::End,
        heard: &mut |_| (),
    };
    let script = "head -c 3000000 /dev/zero; echo last";
    let ended = run.run(|| Ok::<_, Infallible>(shell(script)), ());
    assert!(ended.await.unwrap().stdout.ends_with(b"\0last\n"));
}

#[tokio::test]
async fn what_it_says_is_heard_while_it_runs() {
    let mut heard = Vec::new();
    let run = Run {
        deadline: Instant::now() + LONG,
        stdout: Keep::End,
        heard: &mut |piece| heard.extend_from_slice(piece),
    };
    let script = "echo one >&2; sleep 0.1; echo two >&2";
    let ended = run.run(|| Ok::<_, Infallible>(shell(script)), ()).await;
    assert_eq!(heard, b"one\ntwo\n");
    assert_eq!(ended.unwrap().stderr, heard);
}

#[tokio::test]
async fn dropped_midway_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let script = sleep_with_pid_in(&path);
    let program = tokio::select! {
        started = pid_in(&path) => PidFd::open(started).unwrap(),
        done = run(&script, LONG) => panic!("{done:?}"),
    };
    assert!(program.wait_ended(Some(LONG)).unwrap());
}

/// A script that says in a file which process it is.
fn sleep_with_pid_in(path: &Path) -> String {
    let path = path.display();
    format!("echo $$ > {path}.new; mv {path}.new {path}; exec sleep 300")
}

async fn pid_in(path: &Path) -> Pid {
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return pid(&text);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const DEBUGGED: &str = "APPTAINER_TESTS_DEBUGGED";

/// Not a test: a debugger, which holds a process until it ends itself.
#[test]
#[ignore = "run by a test, as a process of its own"]
fn debugger() {
    let Ok(debugged) = std::env::var(DEBUGGED) else {
        return;
    };
    let debugged = nix::unistd::Pid::from_raw(debugged.parse().unwrap());
    let seized = nix::sys::ptrace::seize(debugged, nix::sys::ptrace::Options::empty());
    println!("\nseized {}", seized.is_ok());
    std::thread::sleep(Duration::from_secs(20));
}

/// One for a process, and whether it has that: users may not be let.
fn debug(program: Pid) -> (Child, bool) {
    let mut debugger = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::run::tests::debugger"])
        .args(["--ignored", "--nocapture"])
        .env(DEBUGGED, program.to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(debugger.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| line.unwrap().strip_prefix("seized ").map(str::to_owned));
    (debugger, said.unwrap() == "true")
}

#[tokio::test]
async fn what_does_not_end_though_it_is_killed_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let script = sleep_with_pid_in(&path);
    let debugging = async {
        let debugger = debug(pid_in(&path).await);
        // From now on all deadlines pass at once.
        tokio::time::pause();
        debugger
    };
    let ((mut debugger, is_held), ended) = tokio::join!(debugging, run(&script, LONG));
    assert!(matches!(ended, Err(RunError::TimedOut)), "{ended:?}");
    let is_there = debugger.try_wait().unwrap().is_none();
    let _ = debugger.kill();
    debugger.wait().unwrap();
    assert!(is_there || !is_held, "it was waited for");
}
