//! Images that have little in them.

use std::fs;
use std::path::Path;
use std::process::Command;

use apptainer::Container;
use apptainer::exec::Mechanism;
use fixtures::World;

/// A container of what lies in this directory.
async fn container_of(world: &World, root: &Path) -> Container {
    let image = world.client().image(root.to_str().unwrap()).await;
    let container = image.unwrap().container();
    if nix::unistd::geteuid().is_root() {
        container.no_privileges()
    } else {
        container
    }
}

/// Where Apptainer mounts things.
fn mount_points(root: &Path) {
    for folder in [
        "dev", "etc", "home", "proc", "root", "sys", "tmp", "var/tmp",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
}

/// Runs a program there by an agent, and kills a tree.
async fn works(container: Container, program: &Path) {
    let link = container.link().await.unwrap();
    let mut command = link.command(program);
    let child = command.args(["echo", "hello"]).spawn().await.unwrap();
    assert_eq!(child.mechanism(), Mechanism::Agent);
    drop(child);
    let output = link.command(program).args(["echo", "hello"]).output().await;
    assert_eq!(&output.unwrap().stdout[..], b"hello\n");
    let mut command = link.command(program);
    let mut child = command.args(["sleep", "1000"]).spawn().await.unwrap();
    child.kill().await.unwrap();
    let missing = link.command("/no/such/program").status().await.unwrap_err();
    assert!(missing.is_command_not_found(), "{missing}");
    link.close().await.unwrap();
}

#[tokio::test]
async fn one_with_a_single_static_program_and_no_shell() {
    let world = World::new().await;
    let root = world.folder().join("root");
    mount_points(&root);
    fs::copy(fixtures::busybox_program(), root.join("app")).unwrap();
    // Its first word is the name of an applet, whatever the program is called.
    fs::rename(root.join("app"), root.join("busybox")).unwrap();
    works(container_of(&world, &root).await, Path::new("/busybox")).await;
    world.finish();
}

#[tokio::test]
async fn one_with_nothing_in_it() {
    let world = World::new().await;
    let root = world.folder().join("root");
    mount_points(&root);
    // On the host's `/tmp`, which Apptainer shows its containers.
    works(
        container_of(&world, &root).await,
        &fixtures::busybox_program(),
    )
    .await;
    world.finish();
}

#[tokio::test]
async fn one_with_the_hosts_c_library() {
    let world = World::new().await;
    let root = world.folder().join("root");
    mount_points(&root);
    for folder in ["bin", "lib", "lib64"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let program = Path::new("/usr/bin/env");
    fs::copy(program, root.join("bin/env")).unwrap();
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let libraries = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for library in libraries {
        let library = Path::new(library);
        let to = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
    let link = container_of(&world, &root).await.link().await.unwrap();
    let output = link.command("env").env_clear().env("A", "1").output().await;
    let output = output.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && shown.lines().any(|line| line == "A=1"),
        "{output:?}"
    );
    link.close().await.unwrap();
    world.finish();
}
