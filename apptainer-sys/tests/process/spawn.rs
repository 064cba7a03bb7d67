//! What a new process is, and what the caller gets of it.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::SigSet;

use apptainer_sys::process::{Exit, Mechanism, Session, Signal, SpawnStage, Stdio};

use crate::{both_ways, output, program, shell, text};

/// A field of /proc/self/stat as the new process has it: 5 is its group, 6 its
/// session.
fn stat(way: Mechanism, session: Session, field: u8) -> (i32, i32) {
    let mut spawn = shell(way, &format!("echo $$; cut -d' ' -f{field} /proc/$$/stat"));
    spawn.session(session);
    let captured = output(spawn);
    let mut numbers = text(&captured)
        .lines()
        .map(|line| line.parse::<i32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

both_ways! {
    fn both_outputs_are_captured_apart(way) {
        let captured = output(shell(way, "echo out; echo err >&2; exit 3"));
        assert_eq!(captured.exit, Exit::Code(3));
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(captured.stderr, b"err\n");
    }

    fn a_signal_is_told_from_a_code(way) {
        assert_eq!(output(shell(way, "kill -9 $$")).exit, Exit::Signal(Signal::KILL));
        assert_eq!(output(shell(way, "exit 137")).exit, Exit::Code(137));
    }

    fn input_goes_in(way) {
        let mut spawn = shell(way, "cat");
        spawn.stdin(Stdio::pipe());
        let mut child = spawn.spawn().unwrap();
        let mut stdin = File::from(child.stdin.take().unwrap());
        stdin.write_all(b"some\0bytes").unwrap();
        drop(stdin);
        assert_eq!(child.output().unwrap().stdout, b"some\0bytes");
    }

    fn an_argv_is_taken_as_it_is(way) {
        let mut spawn = program(way, "/usr/bin/printf");
        spawn
            .args(["[%s]", "a b", "$HOME", "", "*"])
            .stdout(Stdio::pipe());
        assert_eq!(text(&output(spawn)), "[a b][$HOME][][*]");
    }

    fn the_environment_is_exactly_what_was_given(way) {
        let mut spawn = program(way, "/usr/bin/env");
        spawn
            .env([("ONE".into(), "1".into())])
            .set_env("TWO", "2")
            .set_env("ONE", "3")
            .stdout(Stdio::pipe());
        assert_eq!(spawn.get_env("ONE"), Some("3".as_ref()));
        assert_eq!(text(&output(spawn)), "TWO=2\nONE=3");
    }

    fn it_starts_in_the_directory_that_was_named(way) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let mut spawn = shell(way, "pwd");
        spawn.current_dir(&folder);
        assert_eq!(text(&output(spawn)), folder.to_str().unwrap());
    }

    fn sessions_and_groups_are_its_own_where_asked_for(way) {
        const GROUP: u8 = 5;
        const SESSION: u8 = 6;
        let (pid, session) = stat(way, Session::NewSession, SESSION);
        assert_eq!(session, pid);
        let (pid, group) = stat(way, Session::NewGroup, GROUP);
        assert_eq!(group, pid);
        let (pid, session) = stat(way, Session::NewGroup, SESSION);
        assert_ne!(session, pid);
        let (pid, group) = stat(way, Session::Inherit, GROUP);
        assert_ne!(group, pid);
    }

    fn signals_are_as_a_shell_would_leave_them(way) {
        // Rust programs ignore SIGPIPE; what they start must not.
        let blocked = SigSet::from(nix::sys::signal::SIGUSR1);
        blocked.thread_block().unwrap();
        let mut spawn = program(way, "/usr/bin/grep");
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
        // And ours are as they were.
        assert_eq!(SigSet::thread_get_mask().unwrap(), blocked);
    }

    fn a_pipe_holds_as_much_as_was_asked_for(way) {
        let mut spawn = shell(way, "head -c 200000 /dev/zero; echo done >&2");
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

    fn what_has_ended_keeps_its_pid_until_it_is_reaped(way) {
        let mut child = shell(way, "exit 4").spawn().unwrap();
        child.pidfd().wait_ended(None).unwrap();
        assert_eq!(child.peek().unwrap(), Some(Exit::Code(4)));
        assert!(!child.is_reaped());
        assert!(fs::exists(format!("/proc/{}", child.pid())).unwrap());
        assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(4)));
        assert!(child.is_reaped());
        assert_eq!(child.peek().unwrap(), Some(Exit::Code(4)));
        child.signal(Signal::KILL).unwrap();
    }

    fn a_program_that_is_not_there(way) {
        let error = program(way, "/nowhere/program").spawn().unwrap_err();
        assert_eq!(error.stage, SpawnStage::Exec);
        assert_eq!(error.source.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with("start /nowhere/program: "));
    }

    fn a_program_that_may_not_be_run(way) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = program(way, &path).spawn().unwrap_err();
        assert_eq!(error.stage, SpawnStage::Exec);
        assert_eq!(error.source.kind(), ErrorKind::PermissionDenied);
    }

    fn a_directory_that_is_not_there(way) {
        let mut spawn = shell(way, "true");
        spawn.current_dir("/nowhere");
        let error = spawn.spawn().unwrap_err();
        let stage = match way {
            Mechanism::Clone3 => SpawnStage::Directory,
            Mechanism::PosixSpawn => SpawnStage::Exec,
        };
        assert_eq!(error.stage, stage);
        assert_eq!(error.source.kind(), ErrorKind::NotFound);
    }

    fn a_word_that_no_argv_can_hold(way) {
        let mut spawn = shell(way, "true");
        spawn.args(["a\0b"]);
        let error = spawn.spawn().unwrap_err();
        assert_eq!(error.stage, SpawnStage::Arguments);
    }
}
