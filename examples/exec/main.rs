//! Runs a command in an image, or in an instance that runs, and ends as it ends:
//!
//! ```sh
//! cargo run -p examples --example exec -- debian.sif cat /etc/os-release
//! cargo run -p examples --example exec -- --tty instance://database psql
//! ```
//!
//! It behaves as `apptainer exec` does. With `--tty` the command has a terminal of its own,
//! of which this one is a copy: see `tty.rs`.

mod tty;

use std::ffi::OsString;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use apptainer::exec::Mechanism;
use apptainer::sys::process::Signal;
use apptainer::{Apptainer, Command, Container, Error, ExitStatus};
use clap::Parser;
use examples::Signals;
use tokio::runtime::Builder;

/// Run a command in a container, as `apptainer exec` does.
#[derive(Parser)]
struct Options {
    /// Show this part of the host: SOURCE[:DESTINATION].
    #[arg(long = "bind", short = 'B')]
    binds: Vec<String>,
    /// Take root's privileges away.
    #[arg(long)]
    no_privs: bool,
    /// Set a variable: NAME=VALUE.
    #[arg(long = "env", short = 'e', value_parser = variable)]
    env: Vec<(String, String)>,
    /// Run it in this directory.
    #[arg(long, short = 'w')]
    workdir: Option<PathBuf>,
    /// Give it a terminal of its own.
    #[arg(long, short = 't')]
    tty: bool,
    /// End it after so many seconds.
    #[arg(long)]
    timeout: Option<u64>,
    /// A SIF file, a sandbox directory, a URI, or `instance://NAME`.
    image: OsString,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("there are threads and descriptors");
    let result = runtime.block_on(run(&options));
    // A thread of its own may still wait for somebody to type.
    runtime.shutdown_background();
    match result {
        Ok(status) => end_as(status),
        Err(error) => {
            eprintln!("exec: {error}");
            ExitCode::from(255)
        }
    }
}

async fn run(options: &Options) -> Result<ExitStatus, Box<dyn std::error::Error>> {
    let apptainer = Apptainer::discover().await?;
    let instance = options.image.to_str();
    let instance = instance.and_then(|image| image.strip_prefix("instance://"));
    if let Some(name) = instance {
        let link = apptainer.link_instance(name).flags(|flags| {
            flags.no_privs(options.no_privs);
        });
        let link = link.await?;
        let status = attend(options, command(options, |program| link.command(program))).await?;
        link.close().await?;
        return Ok(status);
    }
    let container = container(options, &apptainer).await?;
    if !options.tty {
        return attend(
            options,
            command(options, |program| container.command(program)),
        )
        .await;
    }
    // It takes an agent to open a terminal in the container.
    let link = container.link().await?;
    let status = attend(options, command(options, |program| link.command(program))).await?;
    link.close().await?;
    Ok(status)
}

async fn container(options: &Options, apptainer: &Apptainer) -> Result<Container, Error> {
    let image = apptainer.image(&options.image).await?;
    let mut container = image.container();
    for bind in &options.binds {
        let (source, destination) = bind.split_once(':').unwrap_or((bind, bind));
        container = container.bind(source, destination);
    }
    if options.no_privs {
        container = container.no_privileges();
    }
    Ok(container)
}

fn command(options: &Options, make: impl FnOnce(&OsString) -> Command) -> Command {
    let (program, args) = options.command.split_first().expect("clap requires one");
    let mut command = make(program);
    command.args(args);
    for (name, value) in &options.env {
        command.env(name, value);
    }
    if let Some(directory) = &options.workdir {
        command.current_dir(directory);
    }
    if let Some(seconds) = options.timeout {
        command.timeout(Duration::from_secs(seconds));
    }
    command
}

async fn attend(
    options: &Options,
    mut command: Command,
) -> Result<ExitStatus, Box<dyn std::error::Error>> {
    let mut signals = Signals::catch()?;
    if options.tty {
        return tty::run(&mut command, &mut signals).await;
    }
    let mut child = command.spawn().await?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = signals.next() => signal,
        };
        // A terminal's keys reach the command, too, where it is in the same foreground.
        let is_key = [Signal::INT, Signal::QUIT].contains(&signal);
        if !(is_key && child.mechanism() == Mechanism::Cli && shares_terminal()) {
            child.signal(signal)?;
        }
    }
}

/// Whether the command has our terminal.
fn shares_terminal() -> bool {
    stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal()
}

/// Exits with the command's code, or dies by the signal that killed it.
fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        Signals::end_by(signal);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(255))
}
