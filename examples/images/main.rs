//! Has container images on this machine, and keeps them in order:
//!
//! ```sh
//! cargo run -p examples --example images -- pull docker://debian:12
//! cargo run -p examples --example images -- build --from docker://debian:12 --post "apt-get update"
//! cargo run -p examples --example images -- list
//! cargo run -p examples --example images -- prune --unused-for 30d --keep 20G
//! ```
//!
//! A file a subcommand. What is made stands on standard output, and what is being done on
//! standard error.

mod build;
mod export;
mod how;
mod inspect;
mod keep;
mod list;
mod prune;
mod pull;
mod select;
mod units;
mod usage;
mod verify;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use apptainer::Apptainer;
use apptainer::sys::process::Signal;
use clap::{Args, Parser, Subcommand};
use examples::Signals;
use tokio::runtime::Builder;

/// Pull, build, list, export and clear up container images.
#[derive(Parser)]
#[command(name = "images")]
struct Options {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where images are.
#[derive(Args)]
#[command(next_help_heading = "Where")]
struct Place {
    /// Keep images in this directory [default: apptainer-rs in the cache directory]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Look for images in this store of somebody else's, too
    #[arg(long, global = true, value_name = "DIR")]
    shared: Vec<PathBuf>,
    /// Speak HTTP to this registry
    #[arg(long, global = true, value_name = "HOST")]
    http_registry: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Have an image on this machine, and say where
    Pull(pull::Pull),
    /// Build an image, or find the one that was built of the same
    Build(build::Build),
    /// Show the images that are kept
    List,
    /// Show all there is to know of an image
    Inspect(inspect::Inspect),
    /// Show how much room the store takes
    Usage,
    /// Keep an image, whatever is pruned
    Pin(keep::Named),
    /// Let an image be pruned again
    Unpin(keep::Named),
    /// Take an image away, pinned or not
    Remove(keep::Named),
    /// Take images away that are old, or too many
    Prune(prune::Options),
    /// Read all images, and say which are damaged
    Verify,
    /// Write an image to a file or a directory, or push it
    Export(export::Export),
}

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("there are threads and descriptors");
    let ended = runtime.block_on(async {
        let mut signals = Signals::catch()?;
        tokio::select! {
            done = run(options) => done.map(|()| None),
            // What was being done is dropped, and leaves nothing half.
            signal = signals.next() => Ok::<Option<Signal>, _>(Some(signal)),
        }
    });
    // Waits for what is still being taken away.
    drop(runtime);
    match ended {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(signal)) => Signals::end_by(signal),
        Err(error) => eprintln!("images: {}", one_line(&error.to_string())),
    }
    ExitCode::FAILURE
}

async fn run(options: Options) -> Result<()> {
    let client = client(options.place).await?;
    match options.command {
        Command::Pull(pull) => pull.run(&client).await,
        Command::Build(build) => build.run(&client).await,
        Command::List => list::run(&client.store()).await,
        Command::Inspect(inspect) => inspect.run(&client.store()).await,
        Command::Usage => usage::run(&client).await,
        Command::Pin(named) => named.pin(&client.store()).await,
        Command::Unpin(named) => named.unpin(&client.store()).await,
        Command::Remove(named) => named.remove(&client.store()).await,
        Command::Prune(prune) => prune.run(&client.store()).await,
        Command::Verify => verify::run(&client.store()).await,
        Command::Export(export) => export.run(&client).await,
    }
}

async fn client(place: Place) -> Result<Apptainer> {
    let mut builder = Apptainer::builder();
    if let Some(store) = place.store {
        builder = builder.store_dir(store);
    }
    for store in place.shared {
        builder = builder.shared_store(store);
    }
    for host in place.http_registry {
        builder = builder.http_registry(host);
    }
    Ok(builder.build().await?)
}

/// What Apptainer says may be of several.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}
