//! The examples that use workspaces, as somebody starts them.

use std::fs;
use std::process::{Command, Output};

use fixtures::{World, busybox_sif};

use super::example;

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
