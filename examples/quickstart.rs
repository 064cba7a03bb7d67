//! A workspace, from its start to its end:
//!
//! ```sh
//! cargo run -p examples --example quickstart -- docker://alpine:3
//! ```

use std::error::Error;
use std::time::Duration;

use apptainer::Apptainer;
use clap::Parser;
use examples::Place;

/// Work in a container for a moment.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// A SIF file, a sandbox directory, or a URI.
    image: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let apptainer = Apptainer::discover().await?;
    let workspace = options.place.workspace(&apptainer, options.image);
    let workspace = workspace.start().await?;

    let files = workspace.files();
    files.write("hello.sh", "echo hello, $1\n").await?;
    let result = workspace
        .execute("sh hello.sh world")
        .timeout(Duration::from_secs(10))
        .await?;
    print!("{}", result.stdout_text());

    let shell = workspace.session("shell").open().await?;
    shell.execute("cd /; name=again").await?;
    let result = shell.execute("echo hello, $name, from $PWD").await?;
    print!("{}", result.stdout_text());

    for entry in files.list(".").await? {
        println!("{} is a {}", entry.name.display(), entry.kind);
    }
    workspace.stop().await?;
    Ok(())
}
