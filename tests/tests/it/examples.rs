//! The programs in `examples/`: they do what they show, and leave nothing.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
