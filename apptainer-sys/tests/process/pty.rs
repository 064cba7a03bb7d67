//! Programs at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use apptainer_sys::process::{Child, Exit, Mechanism, Pty, Signal, WindowSize};

use crate::{both_ways, program};

const SIZE: WindowSize = WindowSize {
    rows: 30,
    columns: 100,
};

/// A shell at a terminal.
fn shell_at(pty: &Pty, way: Mechanism, script: &str) -> Child {
    let mut spawn = program(way, "/bin/sh");
    spawn.args(["-c", script]).terminal(pty).unwrap();
    spawn.spawn().unwrap()
}

/// What is printed until everybody has closed the terminal.
fn printed(pty: Pty) -> String {
    let mut printed = Vec::new();
    let mut controller = File::from(std::os::fd::OwnedFd::from(pty));
    let mut buffer = [0; 4096];
    loop {
        match controller.read(&mut buffer) {
            Ok(length) => printed.extend_from_slice(&buffer[..length]),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{error}");
                return String::from_utf8(printed).unwrap().replace("\r\n", "\n");
            }
        }
    }
}

fn ended(child: &mut Child) -> Exit {
    let limit = Some(Duration::from_secs(20));
    assert!(child.pidfd().wait_ended(limit).unwrap(), "it still runs");
    child.wait().unwrap()
}

both_ways! {
    fn it_is_the_controlling_terminal_of_a_session_of_its_own(way) {
        let pty = Pty::open(SIZE).unwrap();
        let path = pty.path().unwrap();
        // A session that no terminal controls cannot open /dev/tty.
        let script = "tty; stty size; cut -d' ' -f6 /proc/$$/stat; echo $$; echo own > /dev/tty";
        let mut child = shell_at(&pty, way, script);
        let printed = printed(pty);
        let lines: Vec<_> = printed.lines().collect();
        let pid = child.pid().to_string();
        assert_eq!(lines, [path.to_str().unwrap(), "30 100", &pid, &pid, "own"]);
        assert_eq!(ended(&mut child), Exit::Code(0));
    }

    fn ctrl_c_reaches_what_is_in_the_foreground(way) {
        let pty = Pty::open(SIZE).unwrap();
        let mut child = shell_at(&pty, way, "echo ready; exec sleep 60");
        let mut controller = File::from(std::os::fd::OwnedFd::from(pty));
        controller.read_exact(&mut [0; 7]).unwrap();
        controller.write_all(b"\x03").unwrap();
        assert_eq!(ended(&mut child), Exit::Signal(Signal::INT));
    }

    fn a_new_size_is_told(way) {
        let pty = Pty::open(SIZE).unwrap();
        let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
        let mut child = shell_at(&pty, way, script);
        let size = WindowSize { rows: 5, columns: 6 };
        let controller = pty.as_fd_file();
        (&controller).read_exact(&mut [0; 7]).unwrap();
        assert_eq!(pty.foreground_group().unwrap(), Some(child.pid()));
        pty.resize(size).unwrap();
        assert_eq!(pty.size().unwrap(), size);
        assert!(printed(pty).contains("5 6\n"));
        assert_eq!(ended(&mut child), Exit::Code(0));
    }

    fn the_program_has_its_streams_and_nothing_else(way) {
        let pty = Pty::open(SIZE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("file")).unwrap();
        let mut spawn = program(way, "/bin/sh");
        // A high number, so that there are free ones below.
        spawn
            .args(["-c", "ls /proc/$$/fd; true"])
            .inherit(file.into(), 50)
            .terminal(&pty)
            .unwrap();
        let mut child = spawn.spawn().unwrap();
        let printed = printed(pty);
        let mut inside: Vec<_> = printed.split_whitespace().collect();
        // Where a shell keeps the script that it runs.
        inside.retain(|number| *number != "10");
        assert_eq!(inside, ["0", "1", "2", "50"]);
        assert_eq!(ended(&mut child), Exit::Code(0));
    }

    fn it_controls_one_session_at_a_time(way) {
        let pty = Pty::open(SIZE).unwrap();
        let mut child = shell_at(&pty, way, "exec sleep 60");
        let mut spawn = program(way, "/bin/true");
        let error = spawn.terminal(&pty).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
        drop(pty);
        ended(&mut child);
    }

    fn to_close_it_hangs_up(way) {
        let pty = Pty::open(SIZE).unwrap();
        let mut child = shell_at(&pty, way, "exec sleep 60");
        drop(pty);
        assert_eq!(ended(&mut child), Exit::Signal(Signal::HUP));
    }
}

#[test]
fn nobody_is_in_the_foreground_of_a_new_terminal() {
    let pty = Pty::open(SIZE).unwrap();
    assert_eq!(pty.foreground_group().unwrap(), None);
    assert_eq!(pty.size().unwrap(), SIZE);
}

trait AsFile {
    fn as_fd_file(&self) -> File;
}

impl AsFile for Pty {
    /// Another descriptor of the same end.
    fn as_fd_file(&self) -> File {
        use std::os::fd::AsFd;
        self.as_fd().try_clone_to_owned().unwrap().into()
    }
}
