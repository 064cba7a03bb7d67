//! A command as a process of the host's, by itself or through an engine's client.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::subject::{BUFFER, IN_IMAGE, STREAM, Subject, TRUE, Work, on_host};

/// A process started by tokio.
#[derive(Debug)]
pub(crate) struct Process {
    /// What stands before the command.
    client: Vec<String>,
    program: String,
}

impl Process {
    /// The command itself.
    pub(crate) fn host() -> Self {
        Self {
            client: Vec::new(),
            program: on_host(),
        }
    }

    /// The command behind the words of a client, such as `runc exec CONTAINER`.
    pub(crate) fn behind<'a>(client: impl IntoIterator<Item = &'a str>, program: String) -> Self {
        let client = client.into_iter().map(str::to_owned).collect();
        Self { client, program }
    }

    /// The same, where the words are in a variable that `scripts/with-engines` sets.
    pub(crate) fn engine(variable: &str) -> Option<Self> {
        let words = std::env::var(variable).ok()?;
        Some(Self::behind(words.split(' '), IN_IMAGE.to_owned()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let client = self.client.iter().map(String::as_str);
        let program = std::iter::once(self.program.as_str());
        let mut words = client.chain(program).chain(args.iter().copied());
        let mut command = Command::new(words.next().expect("there is a program"));
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Subject for Process {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            let output = self.command(TRUE).output().await;
            let output = output.expect("the program is installed");
            assert!(output.status.success(), "{:?}: {output:?}", self.client);
        })
    }

    fn stream(&self) -> Option<Work<'_, u64>> {
        Some(Box::pin(async {
            let mut command = self.command(STREAM);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().expect("the program is installed");
            let bytes = count(child.stdout.take().expect("it is piped")).await;
            let status = child.wait().await.expect("it is ours to wait for");
            assert!(status.success(), "{:?}: {status}", self.client);
            bytes
        }))
    }
}

/// How many bytes there are to read.
pub(crate) async fn count(mut reader: impl AsyncRead + Unpin) -> u64 {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer).await.expect("it can be read") {
            0 => return bytes,
            read => bytes += read as u64,
        }
    }
}
