//! What the agent's program is brought into a container as.

use std::process::Command;

use apptainer::exec::Carrier;
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
