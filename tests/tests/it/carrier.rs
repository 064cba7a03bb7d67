//! What the agent's program is brought into a container as.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use apptainer::exec::{Carrier, ExecError, LinkError, Mechanism};
use fixtures::World;

/// Makes a link, and uses it.
async fn carrier() -> Option<Carrier> {
    let world = World::new().await;
    let link = world.container().await.link().await.unwrap();
    let output = link.command("echo").arg("hello").output().await.unwrap();
    assert_eq!(&output.stdout[..], b"hello\n");
    let carrier = link.carrier();
    link.close().await.unwrap();
    world.finish();
    carrier
}

#[tokio::test]
async fn it_is_a_file_in_memory() {
    assert_eq!(carrier().await, Some(Carrier::Memory));
}

/// An `apptainer` that ends as an agent without memory does, when it is to run one and there is
/// this file. Everything else is done by the real one.
const SHORT: &str = r#"#!/bin/sh
for word; do
    if [ "$word" = /proc/self/fd/200 ] && [ -e MARKER ]; then exit 70; fi
done
exec apptainer "$@"
"#;

#[tokio::test]
async fn one_that_ended_as_it_began_is_tried_again_for_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let program = folder.path().join("apptainer");
    fs::write(&program, SHORT.replace("MARKER", marker.to_str().unwrap())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let world = World::with(|builder| builder.program(&program)).await;
    let container = world.container().await;
    let instance = container.start().await.unwrap();
    fs::write(&marker, "").unwrap();
    let error = container.link().await.unwrap_err();
    let is_stillborn = matches!(
        &error,
        ExecError::Link(LinkError::Stillborn { exit }) if exit.code() == Some(70)
    );
    assert!(is_stillborn, "{error}");
    let ran = async |expected| {
        let mut child = instance.command("true").spawn().await.unwrap();
        assert_eq!(child.mechanism(), expected);
        assert!(child.wait().await.unwrap().success());
    };
    ran(Mechanism::Cli).await;
    fs::remove_file(&marker).unwrap();
    ran(Mechanism::Agent).await;
    instance.stop().await.unwrap();
    world.finish();
}

/// Not a test: what runs where files in memory may not be run.
#[tokio::test]
#[ignore = "run by a test, in a PID namespace of its own"]
async fn without_memory_files() {
    assert_eq!(carrier().await, Some(Carrier::File));
}

/// Only the real root may say so of a PID namespace.
#[test]
fn it_is_a_file_on_disk_where_those_in_memory_may_not_be_run() {
    const NO_EXEC: &str = "/proc/sys/vm/memfd_noexec";
    if !nix::unistd::geteuid().is_root() || !std::path::Path::new(NO_EXEC).exists() {
        eprintln!("not tested: it takes root, and Linux 6.3");
        return;
    }
    let script = format!("echo 2 >{NO_EXEC} && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(["sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "carrier::without_memory_files",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}
