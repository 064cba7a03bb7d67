//! The `exec` example against `apptainer exec`.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fixtures::World;

/// Beside this test: `target/PROFILE/deps/it-..` and `target/PROFILE/examples/exec`.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    profile.join("examples/exec")
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
async fn both_do_the_same() {
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
        let ours = run(&mut Command::new(example()), image.path(), arguments, input);
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
