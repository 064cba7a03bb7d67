//! Copying files into and out of a container: `docker cp` against ours.
//!
//! One file of 1 GiB, and 10 000 files of 4 KiB in 20 directories; in, and out again. Ours go
//! into an instance with a temporary overlay, Docker's into its container; both lie on disk, on
//! whatever file systems temporary directories and Docker's data are. What a copy replaces is
//! removed before, and not counted. Without `scripts/with-engines`, which starts Docker, the other
//! side is `cp -a` from one directory of the host's to another.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use apptainer::{Apptainer, Files};
use harness::{Millis, compare};

#[tokio::main]
async fn main() {
    if std::env::args().any(|word| word == "--archive") {
        println!("{}", fixtures::busybox_archive().display());
        return;
    }
    let apptainer = Apptainer::discover().await.expect("Apptainer is installed");
    let folder = tempfile::tempdir_in("/var/tmp").expect("it can be written to");
    let supervisor = apptainer.supervisor("bench-files").open().await;
    let supervisor = supervisor.expect("there is no other");
    let image = fixtures::busybox_sif();
    let image = image.to_str().expect("it is made below a plain path");
    let spec = apptainer::instance::Spec::new(image).temporary_overlay();
    let service = supervisor.start(&spec).await.expect("it starts");
    let bench = Bench {
        files: service.files(),
        folder: folder.path().to_owned(),
    };
    bench.make();
    for (name, title) in [
        ("large", "1 GiB in one file"),
        ("many", "10 000 files of 4 KiB"),
    ] {
        let names = [docker().map_or("cp -a", |_| "docker cp"), "apptainer crate"];
        compare(
            &format!("upload {title}"),
            names,
            async || bench.other_in(name),
            async || bench.ours_in(name).await,
        )
        .await;
        compare(
            &format!("download {title}"),
            names,
            async || bench.other_out(name),
            async || bench.ours_out(name).await,
        )
        .await;
    }
    service.stop().await.expect("it stops");
}

struct Bench {
    files: Files,
    folder: PathBuf,
}

/// Docker's client with its daemon's socket, and a container, if there is one.
fn docker() -> Option<(String, String)> {
    let socket = std::env::var("BENCH_DOCKER_SOCKET").ok()?;
    let container = std::env::var("BENCH_DOCKER_CONTAINER").ok()?;
    Some((format!("unix://{socket}"), container))
}

fn run(command: &mut Command) {
    let status = command
        .stdout(Stdio::null())
        .status()
        .expect("the program is installed");
    assert!(status.success(), "{command:?}: {status}");
}

fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
    let _ = fs::remove_file(path);
}

fn copy(source: &Path, target: &Path) -> Millis {
    remove(target);
    let begin = Instant::now();
    run(Command::new("cp").arg("-a").arg(source).arg(target));
    begin.elapsed().into()
}

impl Bench {
    fn make(&self) {
        fs::write(self.folder.join("large"), vec![7; 1 << 30]).expect("there is room");
        for number in 0..10_000 {
            let folder = self.folder.join(format!("many/{}", number % 20));
            fs::create_dir_all(&folder).expect("it can be written to");
            fs::write(folder.join(number.to_string()), vec![7; 4096]).expect("there is room");
        }
    }

    fn other_in(&self, name: &str) -> Millis {
        let source = self.folder.join(name);
        match docker() {
            Some((socket, container)) => {
                let docker = || {
                    let mut docker = Command::new("docker");
                    docker.args(["--host", &socket]);
                    docker
                };
                let words = ["exec", &container, "/bin/busybox", "rm", "-rf"];
                run(docker().args(words).arg(format!("/copy-{name}")));
                let begin = Instant::now();
                let target = format!("{container}:/copy-{name}");
                run(docker().arg("cp").arg(source).arg(target));
                begin.elapsed().into()
            }
            None => copy(&source, &self.folder.join(format!("in-{name}"))),
        }
    }

    fn other_out(&self, name: &str) -> Millis {
        let target = self.folder.join(format!("out-{name}"));
        match docker() {
            Some((socket, container)) => {
                remove(&target);
                let begin = Instant::now();
                let mut docker = Command::new("docker");
                docker.args(["--host", &socket, "cp"]);
                run(docker.arg(format!("{container}:/copy-{name}")).arg(target));
                begin.elapsed().into()
            }
            None => copy(&self.folder.join(format!("in-{name}")), &target),
        }
    }

    async fn ours_in(&self, name: &str) -> Millis {
        let target = format!("/copy-{name}");
        if self.files.exists(&target).await.expect("it can be told") {
            self.files.remove_all(&target).await.expect("it is ours");
        }
        let begin = Instant::now();
        let upload = self.files.upload(self.folder.join(name), &target).await;
        upload.expect("it can be copied");
        begin.elapsed().into()
    }

    async fn ours_out(&self, name: &str) -> Millis {
        let target = self.folder.join(format!("ours-{name}"));
        remove(&target);
        let begin = Instant::now();
        let download = self.files.download(format!("/copy-{name}"), &target).await;
        download.expect("it can be copied");
        begin.elapsed().into()
    }
}
