//! Images made from what is on the machine: busybox, linked statically.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A SIF file with busybox, made once for all tests of this user.
///
/// # Panics
///
/// When it cannot be made.
pub fn busybox_sif() -> PathBuf {
    shared("busybox.sif", |root, target| {
        run(Command::new("apptainer")
            .args(["--silent", "build"])
            .arg(target)
            .arg(root));
    })
}

/// A tar file of a root file system with busybox, made once for all tests of this
/// user.
///
/// # Panics
///
/// When it cannot be made.
pub fn busybox_archive() -> PathBuf {
    shared("busybox.tar", |root, target| {
        run(Command::new("tar")
            .args(["--owner=0", "--group=0", "--sort=name", "-C"])
            .arg(root)
            .arg("-cf")
            .arg(target)
            .arg("."));
    })
}

/// The busybox program by itself, where Apptainer's containers see it too.
///
/// # Panics
///
/// When it is not installed.
pub fn busybox_program() -> PathBuf {
    shared("busybox", |root, target| {
        fs::copy(root.join("bin/busybox"), target).expect("it has just been made");
    })
}

/// A directory with a root file system of busybox, and nothing of Apptainer's.
///
/// # Panics
///
/// When it cannot be made.
pub fn busybox_sandbox(path: &Path) {
    make_root(path).expect("busybox is installed: scripts/setup does that");
}

/// A file that all tests of this user share, made by the first that asks.
fn shared(name: &str, make: impl FnOnce(&Path, &Path)) -> PathBuf {
    let user = nix::unistd::geteuid();
    let folder = std::env::temp_dir().join(format!("apptainer-rs-tests-{user}"));
    fs::create_dir_all(&folder).expect("the temporary directory is writable");
    let lock = File::create(folder.join("lock")).expect("it is writable");
    lock.lock().expect("it can be locked");
    let path = folder.join(name);
    if !path.exists() {
        let work = tempfile::tempdir_in(&folder).expect("it is writable");
        let root = work.path().join("root");
        make_root(&root).expect("busybox is installed: scripts/setup does that");
        let unfinished = work.path().join(name);
        make(&root, &unfinished);
        fs::rename(unfinished, &path).expect("it is the same file system");
    }
    path
}

/// A root file system: busybox under the names of its applets.
fn make_root(root: &Path) -> io::Result<()> {
    for folder in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var/tmp", "usr/bin",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or(io::ErrorKind::NotFound)?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    let applets = Command::new(busybox).arg("--list").output()?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    Ok(())
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}
