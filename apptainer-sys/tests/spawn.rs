//! What a new process gets, and what the caller gets of it.

#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use apptainer_sys::process::{Captured, Exit, Session, Signal, Spawn, SpawnStage, Stdio};

fn shell(script: &str) -> Spawn {
    let mut spawn = Spawn::new("/bin/sh");
    spawn
        .args(["-c", script])
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe())
        .stderr(Stdio::pipe());
    spawn
}

fn output(spawn: Spawn) -> Captured {
    spawn.spawn().unwrap().output().unwrap()
}

fn text(captured: &Captured) -> &str {
    assert_eq!(captured.exit, Exit::Code(0), "{captured:?}");
    std::str::from_utf8(&captured.stdout).unwrap().trim_end()
}

/// A field of /proc/self/stat as the new process has it: 5 is its group, 6 its
/// session.
fn stat(session: Session, field: u8) -> (i32, i32) {
    let mut spawn = shell(&format!("echo $$; cut -d' ' -f{field} /proc/$$/stat"));
    spawn.session(session);
    let captured = output(spawn);
    let mut numbers = text(&captured)
        .lines()
        .map(|line| line.parse::<i32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn both_outputs_are_captured_apart() {
    let captured = output(shell("echo out; echo err >&2; exit 3"));
    assert_eq!(captured.exit, Exit::Code(3));
    assert_eq!(captured.stdout, b"out\n");
    assert_eq!(captured.stderr, b"err\n");
}

#[test]
fn a_signal_is_told_from_a_code() {
    assert_eq!(output(shell("kill -9 $$")).exit, Exit::Signal(Signal::KILL));
    assert_eq!(output(shell("exit 137")).exit, Exit::Code(137));
}

#[test]
fn input_goes_in() {
    let mut spawn = shell("cat");
    spawn.stdin(Stdio::pipe());
    let mut child = spawn.spawn().unwrap();
    let mut stdin = File::from(child.stdin.take().unwrap());
    stdin.write_all(b"some\0bytes").unwrap();
    drop(stdin);
    assert_eq!(child.output().unwrap().stdout, b"some\0bytes");
}

#[test]
fn an_argv_is_taken_as_it_is() {
    let mut spawn = Spawn::new("/usr/bin/printf");
    spawn
        .args(["[%s]", "a b", "$HOME", "", "*"])
        .stdout(Stdio::pipe());
    assert_eq!(text(&output(spawn)), "[a b][$HOME][][*]");
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let mut spawn = Spawn::new("/usr/bin/env");
    spawn
        .env([("ONE".into(), "1".into())])
        .set_env("TWO", "2")
        .set_env("ONE", "3")
        .stdout(Stdio::pipe());
    assert_eq!(spawn.get_env("ONE"), Some("3".as_ref()));
    assert_eq!(text(&output(spawn)), "TWO=2\nONE=3");
}

#[test]
fn it_starts_in_the_directory_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut spawn = shell("pwd");
    spawn.current_dir(&folder);
    assert_eq!(text(&output(spawn)), folder.to_str().unwrap());
}

#[test]
fn sessions_and_groups_are_its_own_where_asked_for() {
    const GROUP: u8 = 5;
    const SESSION: u8 = 6;
    let (pid, session) = stat(Session::NewSession, SESSION);
    assert_eq!(session, pid);
    let (pid, group) = stat(Session::NewGroup, GROUP);
    assert_eq!(group, pid);
    let (pid, session) = stat(Session::NewGroup, SESSION);
    assert_ne!(session, pid);
    let (pid, group) = stat(Session::Inherit, GROUP);
    assert_ne!(group, pid);
}

#[test]
fn signals_are_as_a_shell_would_leave_them() {
    // Rust programs ignore SIGPIPE; what they start must not.
    let mut spawn = Spawn::new("/usr/bin/grep");
    spawn
        .args(["-E", "^Sig(Blk|Ign)", "/proc/self/status"])
        .stdout(Stdio::pipe());
    let captured = output(spawn);
    let text = text(&captured);
    let mask = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk"), 0);
    assert_eq!(mask("SigIgn") & (1 << (Signal::PIPE.number() - 1)), 0);
}

#[test]
fn descriptors_get_the_numbers_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let descriptor = |name: &str| -> OwnedFd {
        let path = folder.path().join(name);
        fs::write(&path, name).unwrap();
        File::open(path).unwrap().into()
    };
    let mut spawn = shell("cat <&9; cat <&3");
    // Given crosswise, so that the one must not overwrite the other.
    spawn
        .inherit(descriptor("nine"), 9)
        .inherit(descriptor("three"), 3);
    assert_eq!(text(&output(spawn)), "ninethree");
}

#[test]
fn what_is_open_here_is_not_inherited() {
    // Whoever started the tests may have left something open for all below them.
    let before = output(shell("ls /proc/self/fd"));
    let folder = tempfile::tempdir().unwrap();
    let _open = File::create(folder.path().join("open")).unwrap();
    let (_reader, _writer) = std::io::pipe().unwrap();
    let mut other = shell("sleep 60");
    other.stdin(Stdio::pipe());
    let mut other = other.spawn().unwrap();
    assert_eq!(text(&output(shell("ls /proc/self/fd"))), text(&before));
    other.signal(Signal::KILL).unwrap();
    other.wait().unwrap();
}

#[test]
fn a_pipe_holds_as_much_as_was_asked_for() {
    let mut spawn = shell("head -c 200000 /dev/zero; echo done >&2");
    spawn.stdout(Stdio::Pipe {
        capacity: Some(256 * 1024),
    });
    let mut child = spawn.spawn().unwrap();
    // It ends although nobody has read.
    assert!(
        child
            .pidfd()
            .wait_ended(Some(Duration::from_secs(10)))
            .unwrap()
    );
    child.wait().unwrap();
    let mut stdout = File::from(child.stdout.take().unwrap());
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 200_000);
}

#[test]
fn what_has_ended_keeps_its_pid_until_it_is_reaped() {
    let mut child = shell("exit 4").spawn().unwrap();
    child.pidfd().wait_ended(None).unwrap();
    assert_eq!(child.peek().unwrap(), Some(Exit::Code(4)));
    assert!(!child.is_reaped());
    assert!(fs::exists(format!("/proc/{}", child.pid())).unwrap());
    assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(4)));
    assert!(child.is_reaped());
    assert_eq!(child.peek().unwrap(), Some(Exit::Code(4)));
    child.signal(Signal::KILL).unwrap();
}

#[test]
fn a_program_that_is_not_there() {
    let error = Spawn::new("/nowhere/program").spawn().unwrap_err();
    assert_eq!(error.stage, SpawnStage::Exec);
    assert_eq!(error.source.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("start /nowhere/program: "));
}

#[test]
fn a_program_that_may_not_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let error = Spawn::new(&path).spawn().unwrap_err();
    assert_eq!(error.stage, SpawnStage::Exec);
    assert_eq!(error.source.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_directory_that_is_not_there() {
    let mut spawn = shell("true");
    spawn.current_dir("/nowhere");
    let error = spawn.spawn().unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::NotFound);
}

#[test]
fn a_word_that_no_argv_can_hold() {
    let mut spawn = shell("true");
    spawn.args(["a\0b"]);
    let error = spawn.spawn().unwrap_err();
    assert_eq!(error.stage, SpawnStage::Arguments);
}
