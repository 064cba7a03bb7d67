//! OpenHands' Python SDK at work in an image that has neither Python nor a server:
//!
//! ```sh
//! eval "$(scripts/openhands-paths)"
//! cargo run -p examples --example gateway -- docker://alpine:3 "$OPENHANDS_PYTHON" examples/gateway/client.py
//! ```
//!
//! The CLIENT is run on the host, and knows the gateway by the variables `WORKSPACE_HOST`,
//! `WORKSPACE_API_KEY` and `WORKSPACE_DIR`; everything ends with it. Without one, the gateway
//! serves until it is interrupted; then the key is in a file that only its owner can read.

use std::error::Error;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use apptainer::Apptainer;
use apptainer::gateway::Gateway;
use clap::Parser;
use examples::Place;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Serve a workspace as OpenHands' agent server would.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// Where the key is put if there is no client; nothing may be there.
    #[arg(long, default_value = "gateway.key")]
    key_file: PathBuf,
    /// A SIF file, a sandbox directory, or a URI.
    image: String,
    /// A program of the host's, and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    client: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;

    let apptainer = Apptainer::discover().await?;
    let workspace = options.place.workspace(&apptainer, options.image);
    let workspace = workspace.start().await?;
    let gateway = Gateway::builder(&workspace).start().await?;

    let served = async {
        if let Some((program, arguments)) = options.client.split_first() {
            let mut client = Command::new(program);
            client
                .args(arguments)
                .env("WORKSPACE_HOST", gateway.url())
                .env("WORKSPACE_API_KEY", gateway.api_key())
                .env("WORKSPACE_DIR", workspace.working_dir())
                .kill_on_drop(true);
            return Ok::<_, Box<dyn Error>>(client.status().await?.success());
        }
        let _key = KeyFile::create(&options.key_file, gateway.api_key())?;
        println!("host:        {}", gateway.url());
        println!("api_key:     in {}", options.key_file.display());
        println!("working_dir: {}", workspace.working_dir().display());
        std::future::pending().await
    };
    let served = tokio::select! {
        served = served => served,
        _ = interrupted.recv() => Ok(true),
        _ = terminated.recv() => Ok(true),
    };
    gateway.stop().await?;
    workspace.stop().await?;
    Ok(if served? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The file with the key, as long as the gateway serves.
struct KeyFile<'a>(&'a Path);

impl<'a> KeyFile<'a> {
    fn create(path: &'a Path, key: &str) -> std::io::Result<Self> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let made = Self(path);
        writeln!(file, "{key}")?;
        Ok(made)
    }
}

impl Drop for KeyFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}
