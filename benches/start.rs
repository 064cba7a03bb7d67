//! Starting an instance and running its first command: by hand against ours.
//!
//! By hand is what a script does: `apptainer instance start IMAGE NAME`, then
//! `apptainer exec instance://NAME true`. Ours is `Container::start`, then
//! `Command::status` of the same. Both have the image, a SIF file, on disk
//! already; both are awaited in this program; stopping is not counted.
//!
//! Each round does both, one right after the other, and every other round the
//! other way round, so that what the machine does besides falls on both alike.
//! Medians are of all rounds; the difference is the median of the rounds'
//! differences, with its quartiles, for a round's two halves are more alike than
//! two medians.

mod harness;

use std::process::{Command, Stdio};
use std::time::Instant;

use apptainer::{Apptainer, Container};
use harness::{Millis, compare};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let apptainer = Apptainer::discover().await.expect("Apptainer is installed");
    let image = apptainer.image(fixtures::busybox_sif()).await;
    let container = image.expect("the image is whole").container();
    compare(
        "instance start + first exec",
        ["apptainer by hand", "apptainer crate"],
        async || by_hand(&container),
        async || ours(&container).await,
    )
    .await;
}

fn by_hand(container: &Container) -> Millis {
    let image = container.image().path();
    let name = format!("bench-{}", std::process::id());
    let apptainer = || {
        let mut apptainer = Command::new("apptainer");
        apptainer.arg("--silent").stdout(Stdio::null());
        apptainer
    };
    let run = |command: &mut Command| {
        let status = command.status().expect("apptainer is installed");
        assert!(status.success(), "{command:?}: {status}");
    };
    let begin = Instant::now();
    run(apptainer()
        .args(["instance", "start"])
        .arg(image)
        .arg(&name));
    run(apptainer().args(["exec", &format!("instance://{name}"), "true"]));
    let took = begin.elapsed();
    run(apptainer().args(["instance", "stop", "--force", &name]));
    Millis::from(took)
}

async fn ours(container: &Container) -> Millis {
    let begin = Instant::now();
    let instance = container.start().await.expect("it starts");
    let status = instance.command("true").status().await;
    assert!(status.expect("it runs").success());
    let took = begin.elapsed();
    instance.stop().await.expect("it stops");
    Millis::from(took)
}
