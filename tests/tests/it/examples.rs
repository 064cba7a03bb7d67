//! The programs in `examples/`: they do what they show, and leave nothing.

mod images;
mod workspaces;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use apptainer::exec::WindowSize;
use apptainer::sys::process::{Pid, PidFd, Pty, Signal};

use fixtures::World;

/// Beside this test: `target/PROFILE/deps/it-..` and `target/PROFILE/examples/NAME`.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    Command::new(profile.join("examples").join(name))
}

fn run(command: &mut Command, image: &Path, arguments: &[&str], input: &[u8]) -> Output {
    if nix::unistd::geteuid().is_root() {
        command.arg("--no-privs");
    }
    let mut child = command
        .arg(image)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that could not be started reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn exec_does_what_apptainer_exec_does() {
    let world = World::new().await;
    // Where SIF files cannot be run, `apptainer exec` needs the sandbox.
    let image = world.busybox().await;
    let cases: [(&[&str], &[u8]); 8] = [
        (&["echo", "hello"], b""),
        (&["sh", "-c", "echo out; echo err >&2"], b""),
        (&["sh", "-c", "exit 42"], b""),
        (&["sh", "-c", "kill -TERM $$"], b""),
        (&["sh", "-c", "kill -KILL $$"], b""),
        (&["cat"], b"through the pipe\0\xff\n"),
        (&["nosuch"], b""),
        (&["printf", "%s,", "a b", "", "-x"], b""),
    ];
    for (arguments, input) in cases {
        let mut apptainer = Command::new("apptainer");
        apptainer.args(["--silent", "exec"]);
        let ours = run(&mut example("exec"), image.path(), arguments, input);
        let theirs = run(&mut apptainer, image.path(), arguments, input);
        assert_eq!(ours.stdout, theirs.stdout, "{arguments:?}");
        let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text(&ours), text(&theirs), "{arguments:?}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{arguments:?}");
        assert_eq!(
            ours.status.signal(),
            theirs.status.signal(),
            "{arguments:?}"
        );
    }
    world.finish();
}

/// The terminal of a program has to be that of its session for keys to be signals.
fn in_session(command: &Command) -> Command {
    let mut session = Command::new("setsid");
    session.args(["--ctty", "--wait"]);
    session.arg(command.get_program()).args(command.get_args());
    session
}

/// How it ends, which it does soon.
async fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The example at a terminal, which a test has the other end of.
struct AtTerminal {
    pty: Pty,
    /// Keeps the terminal as it is when the example has ended.
    terminal: File,
    example: Child,
    shown: String,
}

impl AtTerminal {
    fn start(place: &OsStr, arguments: &[&str]) -> Self {
        Self::run(
            example("exec").args(["--tty", "-e", "A=1"]),
            place,
            arguments,
        )
    }

    fn run(command: &mut Command, place: &OsStr, arguments: &[&str]) -> Self {
        if nix::unistd::geteuid().is_root() {
            command.arg("--no-privs");
        }
        Self::spawn(command.arg(place).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let size = WindowSize {
            rows: 30,
            columns: 90,
        };
        let pty = Pty::open(size).unwrap();
        let terminal = pty.terminal().unwrap();
        let stream = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        Self {
            example: command.spawn().unwrap(),
            pty: Pty::from_controller(pty.into()).unwrap(),
            terminal: terminal.into(),
            shown: String::new(),
        }
    }

    /// Waits until the terminal has shown this.
    async fn until_shown(&mut self, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.shown.contains(wanted) {
            let mut bytes = [0; 1024];
            match (&self.pty).read(&mut bytes) {
                Ok(length) => self.shown += &String::from_utf8_lossy(&bytes[..length]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            assert!(
                Instant::now() < deadline,
                "{wanted:?} is not in {:?}",
                self.shown
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.shown.clear();
    }

    fn type_in(&self, keys: &str) {
        assert_eq!((&self.pty).write(keys.as_bytes()).unwrap(), keys.len());
    }

    /// How the terminal is set.
    fn settings(&self) -> Vec<u8> {
        let mut stty = Command::new("stty");
        let stty = stty.arg("-g").stdin(self.terminal.try_clone().unwrap());
        stty.output().unwrap().stdout
    }
}

#[tokio::test]
async fn exec_joins_its_terminal_to_the_commands() {
    let world = World::new().await;
    let image = world.busybox().await;
    let script = "trap 'stty size' WINCH; echo $A; stty size; tty; \
        while read line; do echo [$line]; done; exit 7";
    let mut at = AtTerminal::start(image.path().as_os_str(), &["sh", "-c", script]);
    let before = at.settings();
    at.until_shown("1\r\n30 90\r\n/dev/").await;
    assert_ne!(at.settings(), before, "ours is raw");
    // Echoed once, by the command's terminal.
    at.type_in("hello\r");
    at.until_shown("hello\r\n[hello]\r\n").await;
    at.pty
        .resize(WindowSize {
            rows: 40,
            columns: 100,
        })
        .unwrap();
    // A terminal tells its own session only: say it for the kernel.
    let pid = Pid::try_from(at.example.id()).unwrap();
    PidFd::open(pid)
        .unwrap()
        .signal(Signal::from_number(28).unwrap())
        .unwrap();
    at.until_shown("40 100\r\n").await;
    at.type_in("\u{4}");
    assert_eq!(at.example.wait().unwrap().code(), Some(7));
    assert_eq!(at.settings(), before, "and is what it was");
    world.finish();
}

#[tokio::test]
async fn exec_passes_a_signal_on_to_the_command() {
    let world = World::new().await;
    let image = world.busybox().await;
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = example("exec");
    if nix::unistd::geteuid().is_root() {
        command.arg("--no-privs");
    }
    let mut child = command
        .arg(image.path())
        .args(["sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 6]).unwrap();
    let pid = Pid::try_from(child.id()).unwrap();
    PidFd::open(pid).unwrap().signal(Signal::TERM).unwrap();
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "got it\n");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    world.finish();
}

#[tokio::test]
async fn exec_says_that_a_terminal_takes_one() {
    let world = World::new().await;
    let image = world.busybox().await;
    let mut command = example("exec");
    let output = run(command.arg("--tty"), image.path(), &["true"], b"");
    assert_eq!(output.status.code(), Some(255));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("has to be a terminal"), "{stderr}");
    world.finish();
}

#[tokio::test]
async fn the_demo_needs_neither_docker_nor_a_network() {
    let world = World::new().await;
    let demo = example("demo")
        .env("DOCKER_HOST", "unix:///dev/null")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&demo.stdout);
    let stderr = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{stdout}{stderr}");
    for step in [
        "fetch the image: docker://127.0.0.1:",
        "health check: `true` succeeded",
        "stdout  hello 3",
        "stderr  done",
        "carry it out: the same bytes",
        "stop: no process, no record left",
    ] {
        assert!(stdout.contains(step), "no {step:?} in {stdout}");
    }
    world.finish();
}

#[tokio::test]
async fn the_demo_says_what_is_wrong_with_an_image() {
    let world = World::new().await;
    let demo = example("demo")
        .env("DOCKER_HOST", "unix:///dev/null")
        .arg("/etc/passwd")
        .output()
        .unwrap();
    assert_eq!(demo.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&demo.stderr);
    assert!(stderr.contains("it is not a SIF file"), "{stderr}");
    world.finish();
}

#[tokio::test]
async fn ctrl_c_at_the_terminal_ends_the_command_whichever_way_it_came() {
    let world = World::new().await;
    let image = world.busybox().await;
    let name = format!("ctrl-c-{}", std::process::id());
    let apptainer = |arguments: &[&OsStr]| {
        let status = Command::new("apptainer").args(arguments).status();
        assert!(status.unwrap().success());
    };
    let [instance, start, stop] = ["instance", "start", "stop"].map(OsStr::new);
    let image = image.path().as_os_str();
    let privileges: &[&OsStr] = if nix::unistd::geteuid().is_root() {
        &["--no-privs".as_ref()]
    } else {
        &[]
    };
    apptainer(&[&[instance, start], privileges, &[image, name.as_ref()]].concat());
    let joined = format!("instance://{name}");
    for place in [image, joined.as_ref()] {
        for options in [&[][..], &["--tty"]] {
            let mut command = in_session(&example("exec"));
            command.args(options);
            let script = ["sh", "-c", "echo ready; exec sleep 1000"];
            let mut at = AtTerminal::run(&mut command, place, &script);
            at.until_shown("ready").await;
            at.type_in("\u{3}");
            let status = ended(&mut at.example).await;
            let interrupt = Signal::INT.number();
            assert_eq!(status.signal(), Some(interrupt), "{place:?} {options:?}");
        }
    }
    // It is this program's to reap, so that its end is not seen.
    apptainer(&[instance, stop, OsStr::new("--timeout=1"), name.as_ref()]);
    world.finish();
}
