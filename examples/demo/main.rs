//! The main job from end to end: an image is fetched from a registry, kept as a
//! SIF file, started as an instance, used and stopped. `scripts/demo` runs it.
//!
//! ```sh
//! cargo run -p examples --example demo                       # an image made here
//! cargo run -p examples --example demo -- docker://alpine:3  # one from elsewhere
//! ```

mod docker;
mod report;
mod source;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use apptainer::exec::Source as Output;
use apptainer::{Apptainer, Image, Instance, Stdio};
use clap::Parser;
use examples::Bars;
use tokio::io::AsyncWriteExt;

use report::{note, size, step};
use source::Source;

/// Take a container image from a registry to a running instance and back.
#[derive(Parser)]
struct Options {
    /// The image to use: a URI, a SIF file or a sandbox directory. Without one, an
    /// image is made of busybox and pushed to a registry on this machine.
    image: Option<OsString>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let begin = Instant::now();
    println!("Apptainer from Rust, end to end\n");
    docker::refuse()?;

    let source = Source::new(options.image).await?;
    let apptainer = step("find Apptainer", async {
        let apptainer = source.client().await?;
        let install = apptainer.install();
        let found = format!("{} at {}", install.version(), install.program().display());
        Ok((apptainer, found))
    })
    .await?;
    let image = pull(&apptainer, &source).await?;
    let instance = start(&image).await?;
    let name = instance.name().to_owned();
    // Whatever fails in between, dropping the instance ends it.
    check_health(&instance).await?;
    stream(&instance).await?;
    carry_a_file(&instance).await?;
    stop(instance).await?;

    let left = apptainer.instances().await?;
    if left.iter().any(|instance| instance.name == name) {
        return Err(format!("the instance {name} is still there").into());
    }
    docker::confirm()?;
    println!("\n  {:>8}  in all", report::milliseconds(begin.elapsed()));
    Ok(())
}

/// Fetches the image twice: the second time it is in the store.
async fn pull(apptainer: &Apptainer, source: &Source) -> Result<Image> {
    let reference = source.reference();
    let image = step("fetch the image", async {
        let name = reference.to_string_lossy().into_owned();
        let bars = Bars::new(&name);
        let image = apptainer.image(reference).on_progress(bars.listener());
        let image = image.await?;
        Ok((image, name))
    })
    .await?;
    step("ask for it again", async {
        let again = apptainer.image(reference).await?;
        let bytes = match again.sif() {
            Some(sif) => size(std::fs::metadata(sif)?.len()),
            None => "a directory".to_owned(),
        };
        Ok((again, format!("{bytes}, already here")))
    })
    .await?;
    note(format!("{}", image.path().display()));
    note(format!("root file system: {:?}", image.rootfs()));
    Ok(image)
}

async fn start(image: &Image) -> Result<Instance> {
    step("start an instance", async {
        let mut container = image.container().env("GREETING", "hello");
        if nix::unistd::geteuid().is_root() {
            container = container.no_privileges();
        }
        let instance = container.start().await?;
        let what = format!("{}, pid {}", instance.name(), instance.pid());
        Ok((instance, what))
    })
    .await
}

/// Runs a command until it succeeds.
async fn check_health(instance: &Instance) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(10);
    step("health check", async {
        let deadline = Instant::now() + LIMIT;
        let mut tries = 1;
        loop {
            let mut probe = instance.command("true");
            let output = probe.timeout(Duration::from_secs(2)).output().await?;
            if output.status.success() {
                return Ok(((), format!("`true` succeeded at try {tries}")));
            }
            if Instant::now() > deadline {
                return Err(format!("`true` still fails: {}", output.status).into());
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// Shows what a command writes while it writes.
async fn stream(instance: &Instance) -> Result<()> {
    const SCRIPT: &str = "for i in 1 2 3; do echo \"$GREETING $i\"; sleep 0.2; done; echo done >&2";
    step("stream a command", async {
        let begin = Instant::now();
        let mut child = instance
            .command("sh")
            .args(["-c", SCRIPT])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await?;
        let mut output = child.stream()?;
        while let Some(chunk) = output.next().await {
            let chunk = chunk?;
            let source = match chunk.source {
                Output::Stdout => "stdout",
                Output::Stderr => "stderr",
            };
            let text = String::from_utf8_lossy(&chunk.bytes);
            for line in text.lines() {
                let after = begin.elapsed().as_millis();
                note(format!("{after:>5} ms  {source}  {line}"));
            }
        }
        let status = child.wait().await?;
        Ok(((), status.to_string()))
    })
    .await
}

/// Writes a file in the container and reads it back.
async fn carry_a_file(instance: &Instance) -> Result<()> {
    const PATH: &str = "/tmp/apptainer-rs-demo";
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[0]).collect();
    step("carry a file in", async {
        let mut child = instance
            .command("sh")
            .args(["-c", "cat > \"$0\"", PATH])
            .stdin(Stdio::piped())
            .spawn()
            .await?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&sent).await?;
        }
        let status = child.wait().await?;
        if !status.success() {
            return Err(format!("it could not be written: {status}").into());
        }
        Ok(((), size(sent.len() as u64)))
    })
    .await?;
    step("carry it out", async {
        let received = instance.command("cat").arg(PATH).output().await?;
        instance.command("rm").arg(PATH).status().await?;
        if received.stdout != sent {
            return Err("it came back changed".into());
        }
        Ok(((), "the same bytes".to_owned()))
    })
    .await
}

async fn stop(instance: Instance) -> Result<()> {
    step("stop", async {
        let pid = instance.pid();
        instance.stop().await?;
        if std::fs::exists(format!("/proc/{pid}"))? {
            return Err(format!("the process {pid} is still there").into());
        }
        Ok(((), "no process, no record left".to_owned()))
    })
    .await
}
