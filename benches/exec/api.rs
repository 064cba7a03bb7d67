//! Docker's API, without its client: by the `bollard` crate.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_core::Stream;

use crate::subject::{BUFFER, IN_IMAGE, STREAM, Subject, TRUE, Work};

/// A client of a daemon, and the container that it runs commands in.
#[derive(Debug)]
pub(crate) struct Api {
    docker: Docker,
    container: String,
}

impl Api {
    /// Connects with the daemon that `scripts/with-engines` has started, if it has.
    pub(crate) async fn connect() -> Option<Self> {
        const TIMEOUT_S: u64 = 120;
        let socket = std::env::var("BENCH_DOCKER_SOCKET").ok()?;
        let container = std::env::var("BENCH_DOCKER_CONTAINER").ok()?;
        let docker = Docker::connect_with_unix(&socket, TIMEOUT_S, API_DEFAULT_VERSION);
        let docker = docker.expect("the socket is there");
        let docker = docker.negotiate_version().await;
        let docker = docker.expect("the daemon answers");
        Some(Self { docker, container })
    }

    /// Runs a command, and tells how much it wrote to its standard output.
    async fn exec(&self, args: &[&str], buffer: Option<usize>) -> u64 {
        let words = std::iter::once(&IN_IMAGE).chain(args);
        let config = ExecConfig {
            cmd: Some(words.map(|&word| word.to_owned()).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(&self.container, config).await;
        let id = exec.expect("the container runs").id;
        let options = StartExecOptions {
            output_capacity: buffer,
            ..StartExecOptions::default()
        };
        let started = self.docker.start_exec(&id, Some(options)).await;
        let Ok(StartExecResults::Attached { mut output, .. }) = started else {
            panic!("the command starts and is attached");
        };
        let mut bytes = 0;
        while let Some(part) = next(&mut output).await {
            if let LogOutput::StdOut { message } = part.expect("it can be read") {
                bytes += message.len() as u64;
            }
        }
        let exec = self.docker.inspect_exec(&id).await;
        assert_eq!(exec.expect("it is known still").exit_code, Some(0));
        bytes
    }
}

type Parts = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

async fn next(parts: &mut Parts) -> Option<Result<LogOutput, Error>> {
    std::future::poll_fn(|context| parts.as_mut().poll_next(context)).await
}

impl Subject for Api {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            self.exec(TRUE, None).await;
        })
    }

    fn stream(&self) -> Option<Work<'_, u64>> {
        Some(Box::pin(self.exec(STREAM, Some(BUFFER))))
    }
}
