//! The examples that use workspaces, as somebody starts them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use fixtures::{OpenHands, World, busybox_sif};

use super::example;

/// What the SDK runs that the example `gateway` comes with.
const CLIENT: &str = include_str!("../../../../examples/gateway/client.py");

/// An example to run on busybox, which keeps its images in the world's folder.
fn with_world(world: &World, name: &str) -> Command {
    let mut command = example(name);
    let folder = world.folder();
    command
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_RUNTIME_DIR", folder);
    if nix::unistd::geteuid().is_root() {
        command.arg("--no-privs");
    }
    if std::env::var_os("WITH_FAKEROOT").is_none() {
        command.arg("--no-fakeroot");
    }
    command
}

fn run(command: &mut Command) -> (String, Output) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output)
}

#[tokio::test]
async fn quickstart_says_hello_twice() {
    let world = World::new().await;
    let (text, output) = run(with_world(&world, "quickstart").arg(busybox_sif()));
    assert!(output.status.success(), "{output:?}");
    let expected = "hello, world\nhello, again, from /\nhello.sh is a file\n";
    assert_eq!(text, expected);
    world.finish();
}

#[tokio::test]
async fn sandbox_keeps_what_its_lines_do_and_forgets_what_they_try() {
    let world = World::new().await;
    let mut sandbox = with_world(&world, "sandbox");
    sandbox
        .args(["--timeout", "5"])
        .arg(busybox_sif())
        .args(["mkdir a; cd a; echo kept >file", "!rm file; ls; pwd; false"])
        .args(["cat file", "nosuch"]);
    let (text, output) = run(&mut sandbox);
    assert!(output.status.success(), "{output:?}");
    let (lines, kept) = text.split_once("kept as ").unwrap();
    let expected = "> mkdir a; cd a; echo kept >file\n\
        > !rm file; ls; pwd; false\n/workspace/a\n[exit code 1]\n\
        > cat file\nkept\n> nosuch\n";
    assert!(lines.starts_with(expected), "{text}");
    assert!(lines.ends_with("[exit code 127]\n"), "{text}");

    let again = world.workspace_of(kept.trim_end()).start().await.unwrap();
    let result = again.execute("cat a/file").await.unwrap();
    assert_eq!(result.stdout_text(), "kept\n");
    again.stop().await.unwrap();
    drop(again);
    world.finish();
}

#[tokio::test]
async fn farm_builds_everywhere_and_says_which_failed() {
    let world = World::new().await;
    let source = world.folder().join("project");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("input"), "text").unwrap();
    let mut farm = with_world(&world, "farm");
    farm.args(["--jobs", "2", "--keep", "output"])
        .args(["--run", "echo building; wc -c <input >output"])
        .arg("--source")
        .arg(&source)
        .args([busybox_sif(), busybox_sif(), "nosuch.sif".into()]);
    let (text, output) = run(&mut farm);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for number in 0..2 {
        assert!(text.contains(&format!("{number}| building\n")), "{text}");
        assert!(text.contains(&format!("{number}: built in ")), "{text}");
        let kept = world.folder().join(format!("output.{number}"));
        assert_eq!(fs::read_to_string(kept).unwrap().trim(), "4");
    }
    assert!(text.contains("2: failed: "), "{text}");
    assert!(text.ends_with("2 built, 1 failed\n"), "{text}");
    world.finish();
}

#[tokio::test]
async fn gateway_has_the_sdk_work_in_an_image_without_python() {
    let world = World::new().await;
    let client = world.folder().join("client.py");
    fs::write(&client, CLIENT).unwrap();
    let mut gateway = with_world(&world, "gateway");
    gateway
        .arg(busybox_sif())
        .arg(OpenHands::find().python())
        .arg(&client)
        .env("OPENHANDS_SUPPRESS_BANNER", "1")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let (text, output) = run(&mut gateway);
    assert!(output.status.success(), "{output:?}");
    let expected = "no Python here, in /workspace\nFROM THE SDK\nbegun, and stopped: True\n";
    assert_eq!(text, expected);
    world.finish();
}

#[tokio::test]
async fn gateway_serves_until_it_is_interrupted() {
    let world = World::new().await;
    let mut gateway = with_world(&world, "gateway");
    gateway.arg(busybox_sif()).stdout(Stdio::piped());
    let mut gateway = gateway.spawn().unwrap();
    let mut said = BufReader::new(gateway.stdout.take().unwrap());
    let mut host = String::new();
    said.read_line(&mut host).unwrap();
    let host = host
        .strip_prefix("host:        http://")
        .unwrap()
        .trim_end();
    let mut rest = String::new();
    (&mut said).take(1).read_to_string(&mut rest).unwrap();

    let key = world.folder().join("gateway.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&key).unwrap().len(), 65);
    std::net::TcpStream::connect(host).unwrap();

    let pid = nix::unistd::Pid::from_raw(gateway.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(gateway.wait().unwrap().success());
    assert!(!key.exists());
    world.finish();
}
