//! What an agent has its tools run in: a shell that keeps its state, attempts that can be thrown
//! away, and what came of it kept as an image:
//!
//! ```sh
//! cargo run -p examples --example sandbox -- docker://alpine:3 'cd /etc' 'cat os-release' '!rm -rf /etc' 'ls'
//! ```
//!
//! Each LINE is run in the same shell, at most so long. One that begins with `!` is tried in a copy
//! of the workspace, which is thrown away with whatever it did.

use std::error::Error;
use std::time::Duration;

use apptainer::image::Compression;
use apptainer::workspace::{CommandResult, Session};
use apptainer::{Apptainer, Workspace};
use clap::Parser;
use examples::Place;

/// Run lines in a sandbox, and keep what is in it in the end as an image.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// How many seconds a line may take.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// A SIF file, a sandbox directory, or a URI.
    image: String,
    /// Lines for a shell.
    #[arg(required = true)]
    lines: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let limit = Duration::try_from_secs_f64(options.timeout)?;
    let apptainer = Apptainer::discover().await?;
    let workspace = options.place.workspace(&apptainer, options.image);
    let workspace = workspace.start().await?;
    let shell = workspace.session("agent").open().await?;

    for line in &options.lines {
        println!("> {line}");
        if let Some(line) = line.strip_prefix('!') {
            show(&attempt(&workspace, &shell, line, limit).await?);
        } else {
            show(&shell.execute(line.as_str()).timeout(limit).await?);
        }
    }

    let image = workspace.snapshot();
    let image = image.compression(Compression::Zstd { level: 3 }).await?;
    println!("kept as {}", image.path().display());
    workspace.stop().await?;
    Ok(())
}

/// Runs a line where the shell is now, and undoes all that it does to files.
async fn attempt(
    workspace: &Workspace,
    shell: &Session,
    line: &str,
    limit: Duration,
) -> Result<CommandResult, Box<dyn Error>> {
    let directory = shell.execute("pwd").await?.stdout_text();
    let fork = workspace.fork().await?;
    let result = fork
        .execute(line)
        .current_dir(directory.trim_end_matches('\n'))
        .timeout(limit)
        .await?;
    fork.stop().await?;
    Ok(result)
}

fn show(result: &CommandResult) {
    print!("{}{}", result.stdout_text(), result.stderr_text());
    if result.timed_out {
        println!("[took too long]");
    } else if !result.success() {
        println!("[exit code {}]", result.exit_code);
    }
}
