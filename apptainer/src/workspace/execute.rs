//! Shell lines.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use apptainer_sys::process::Exit;
use bytes::Bytes;

use super::{Workspace, WorkspaceError};
use crate::exec::{ExecError, StartStage};
use crate::variables::Variables;
use crate::{Child, Command, Output};

/// The shell of [`Workspace::execute`].
const SHELL: &str = "/bin/sh";

/// A shell line to run in a workspace: from [`Workspace::execute`].
///
/// Awaited, it is run, and what it wrote collected. Dropping that future kills it with all that it
/// started.
#[derive(Debug, Clone)]
#[must_use = "a line is not run until it is awaited"]
pub struct Execute {
    workspace: Workspace,
    line: OsString,
    env: Variables,
    current_dir: Option<PathBuf>,
    timeout: Option<Duration>,
    output_limit: Option<usize>,
}

/// How a shell line ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandResult {
    /// Its exit code: -1 where it took too long, and otherwise -N where signal N killed its shell, as
    /// in Python.
    pub exit_code: i32,
    /// What it wrote to its standard output, until it ended or was ended.
    pub stdout: Bytes,
    /// The same of its standard error.
    pub stderr: Bytes,
    /// Whether it was ended because it took too long.
    pub timed_out: bool,
}

impl CommandResult {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.exit_code == 0
    }

    /// Standard output as text; what is no UTF-8 is replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; what is no UTF-8 is replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub(super) fn code(exit: Exit) -> i32 {
        match (exit.code(), exit.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => -signal.number(),
            (None, None) => -1,
        }
    }
}

impl From<Output> for CommandResult {
    fn from(output: Output) -> Self {
        let exit_code = if output.timed_out {
            -1
        } else {
            Self::code(output.status.exit())
        };
        Self {
            exit_code,
            stdout: output.stdout,
            stderr: output.stderr,
            timed_out: output.timed_out,
        }
    }
}

impl Execute {
    pub(super) fn new(workspace: &Workspace, line: &OsStr) -> Self {
        Self {
            workspace: workspace.clone(),
            line: line.to_owned(),
            env: Variables::default(),
            current_dir: None,
            timeout: None,
            output_limit: None,
        }
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.push(pair);
        self
    }

    /// Where it runs: below the working directory, if this is not absolute; the working
    /// directory otherwise.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Ends it when it takes longer: `SIGTERM`, and a second later `SIGKILL` to all of it. What it
    /// wrote until then is kept.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// See [`Command::output_limit`].
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = Some(bytes);
        self
    }

    /// Starts it, with its outputs piped: [`Child::stream`] and [`Child::lines`] give them as they
    /// come.
    pub async fn spawn(self) -> Result<Child, WorkspaceError> {
        let mut command = self.into_command()?;
        command
            .stdin(crate::Stdio::null())
            .stdout(crate::Stdio::piped())
            .stderr(crate::Stdio::piped());
        command.spawn().await.map_err(no_shell(SHELL))
    }

    fn into_command(self) -> Result<Command, WorkspaceError> {
        /// How long it may take to obey.
        const GRACE: Duration = Duration::from_secs(1);
        if self.line.as_encoded_bytes().contains(&0) {
            return Err(WorkspaceError::Nul);
        }
        let mut command = self.workspace.command(SHELL)?;
        command.arg("-c").arg(self.line).envs(self.env).grace(GRACE);
        if let Some(path) = self.current_dir {
            command.current_dir(self.workspace.resolve(path));
        }
        if let Some(limit) = self.timeout {
            command.timeout(limit);
        }
        if let Some(bytes) = self.output_limit {
            command.output_limit(bytes);
        }
        Ok(command)
    }
}

impl IntoFuture for Execute {
    type Output = Result<CommandResult, WorkspaceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let output = self.into_command()?.output().await;
            Ok(output.map_err(no_shell(SHELL))?.into())
        })
    }
}

/// What an error means where a shell was to be run.
pub(super) fn no_shell(shell: impl AsRef<Path>) -> impl FnOnce(ExecError) -> WorkspaceError {
    move |error| match error {
        ExecError::Start(start) if is_missing(start) => WorkspaceError::NoShell {
            shell: shell.as_ref().to_owned(),
        },
        error => error.into(),
    }
}

fn is_missing(error: crate::exec::StartError) -> bool {
    error.stage() == StartStage::Exec && error.code() == nix::libc::ENOENT
}
