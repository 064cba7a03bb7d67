//! Runs a command in an image, and ends as it ends:
//!
//! ```sh
//! cargo run -p examples --example exec -- debian.sif cat /etc/os-release
//! ```

use std::ffi::OsString;
use std::process::ExitCode;

use apptainer::{Apptainer, Error, ExitStatus};
use clap::Parser;

/// Run a command in a container, as `apptainer exec` does.
#[derive(Parser)]
struct Options {
    /// Show this part of the host: SOURCE[:DESTINATION].
    #[arg(long = "bind", short = 'B')]
    binds: Vec<String>,
    /// Take root's privileges away.
    #[arg(long)]
    no_privs: bool,
    /// A SIF file, a sandbox directory, or a URI.
    image: OsString,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(status) => end_as(status),
        Err(error) => {
            eprintln!("exec: {error}");
            ExitCode::from(255)
        }
    }
}

async fn run(options: Options) -> Result<ExitStatus, Error> {
    let apptainer = Apptainer::discover().await?;
    let image = apptainer.image(&options.image).await?;
    let mut container = image.container();
    for bind in &options.binds {
        let (source, destination) = bind.split_once(':').unwrap_or((bind, bind));
        container = container.bind(source, destination);
    }
    if options.no_privs {
        container = container.no_privileges();
    }
    let (program, args) = options.command.split_first().expect("clap requires one");
    Ok(container.command(program).args(args).status().await?)
}

/// Exits with the command's code, or dies by the signal that killed it.
fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        let _ = nix::sys::signal::raise(
            nix::sys::signal::Signal::try_from(signal.number())
                .unwrap_or(nix::sys::signal::SIGKILL),
        );
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(255))
}
