//! A build farm: a directory of sources, and several images to build and test it on, some at a time,
//! with what they say as they say it:
//!
//! ```sh
//! cargo run -p examples --example farm -- --jobs 2 --source . --run 'make test' \
//!     docker://alpine:3 docker://debian:12
//! ```
//!
//! Each has a copy of the sources in a workspace of its own. `--keep PATH` copies that file or
//! directory of each to `PATH.N` on the host. It ends with how many failed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apptainer::exec::Source;
use apptainer::{Apptainer, Workspace};
use clap::Parser;
use examples::Place;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Build the same on several images.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// How many are built at a time.
    #[arg(long, short, default_value_t = 2)]
    jobs: usize,
    /// The directory of the sources.
    #[arg(long)]
    source: PathBuf,
    /// A shell line that builds them.
    #[arg(long)]
    run: String,
    /// What to copy back, relative to the sources.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// After so many seconds a build has failed.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// SIF files, sandbox directories, or URIs.
    #[arg(required = true)]
    images: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Arc::new(Options::parse());
    let apptainer = Apptainer::discover().await?;
    let turns = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut builds = JoinSet::new();
    for number in 0..options.images.len() {
        let (options, apptainer, turns) =
            (Arc::clone(&options), apptainer.clone(), Arc::clone(&turns));
        builds.spawn(async move {
            let _turn = turns.acquire().await.expect("it is never closed");
            let began = Instant::now();
            let built = build(&options, &apptainer, number).await;
            let seconds = began.elapsed().as_secs_f32();
            let (is_good, text) = match built {
                Ok(true) => (true, "built".to_owned()),
                Ok(false) => (false, "failed".to_owned()),
                Err(error) => (false, format!("failed: {error}")),
            };
            println!("{number}: {text} in {seconds:.1} s");
            is_good
        });
    }
    let built = builds.join_all().await;
    let failed = built.iter().filter(|is_good| !**is_good).count();
    println!("{} built, {failed} failed", built.len() - failed);
    Ok(ExitCode::from(u8::try_from(failed).unwrap_or(u8::MAX)))
}

async fn build(
    options: &Options,
    apptainer: &Apptainer,
    number: usize,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let image = options.images[number].as_str();
    println!("{number}: {image}");
    let workspace = options.place.workspace(apptainer, image).start().await?;
    let built = build_in(&workspace, options, number).await;
    workspace.stop().await?;
    built
}

async fn build_in(
    workspace: &Workspace,
    options: &Options,
    number: usize,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let files = workspace.files();
    files.upload(&options.source, "source").await?;
    let mut child = workspace
        .execute(&options.run)
        .current_dir("source")
        .timeout(Duration::from_secs(options.timeout))
        .spawn()
        .await?;
    let mut lines = child.lines()?;
    while let Some(line) = lines.next().await {
        let line = line?;
        match line.source {
            Source::Stdout => println!("{number}| {}", line.text()),
            Source::Stderr => eprintln!("{number}| {}", line.text()),
        }
    }
    let is_good = child.wait().await?.success();
    if let (true, Some(keep)) = (is_good, &options.keep) {
        let target = kept(keep, number);
        files
            .download(Path::new("source").join(keep), target)
            .await?;
    }
    Ok(is_good)
}

/// Where what one of them built goes.
fn kept(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
