//! Shell lines to run.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::command::{Limit, start};
use super::wire::ExecuteBashRequest;
use super::{AgentServer, AgentServerError, RunningCommand};
use crate::workspace::CommandResult;

const DOING: &str = "run a shell line";

/// How long a line that may take as long as it likes is given, in seconds: ten years, as the server
/// wants a number.
const FOREVER: i64 = 10 * 365 * 24 * 3600;

/// A shell line to run by an agent server: from [`AgentServer::execute`].
///
/// Awaited, it is run, and what it wrote collected. Dropping that future stops the line, if the server
/// is 1.58 or later.
#[derive(Debug, Clone)]
#[must_use = "a line is not run until it is awaited"]
pub struct Execute {
    server: AgentServer,
    line: OsString,
    current_dir: Option<PathBuf>,
    timeout: Option<Duration>,
}

impl Execute {
    pub(super) fn new(server: &AgentServer, line: &OsStr) -> Self {
        Self {
            server: server.clone(),
            line: line.to_owned(),
            current_dir: None,
            timeout: None,
        }
    }

    /// Where it runs: below the working directory, if this is not absolute; the working directory
    /// otherwise.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Stops it when it takes longer: `SIGTERM`, and a second later `SIGKILL` to its process group.
    /// What it wrote until then is kept.
    ///
    /// Servers know whole seconds, and are told the next one; when the time is up exactly, the
    /// client stops the line. One older than 1.58 cannot be told to: the answer comes in time, what
    /// the line wrote since its last full MiB is lost, and the line may go on for up to a second.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Starts it, to be told of what it writes as the server tells it.
    pub async fn start(self) -> Result<RunningCommand, AgentServerError> {
        let wrong = |reason: &str| AgentServerError::Input {
            doing: DOING,
            reason: reason.to_owned(),
        };
        let Ok(command) = self.line.into_string() else {
            return Err(wrong("it is not UTF-8, and the server takes text only"));
        };
        let cwd = match self.current_dir {
            Some(path) => self.server.resolve(path),
            None => self.server.working_dir().to_owned(),
        };
        let Ok(cwd) = cwd.into_os_string().into_string() else {
            return Err(wrong("its directory is not UTF-8"));
        };
        if command.contains('\0') || cwd.contains('\0') {
            return Err(wrong("it has a NUL in it"));
        }
        let request = ExecuteBashRequest {
            command,
            cwd: Some(cwd),
            timeout: self.timeout.map_or(FOREVER, whole_seconds),
        };
        start(&self.server, request, Limit::new(self.timeout)).await
    }
}

/// At least one: a server takes 0 for no time at all.
fn whole_seconds(limit: Duration) -> i64 {
    let seconds = limit
        .as_secs()
        .saturating_add(u64::from(limit.subsec_nanos() > 0));
    i64::try_from(seconds).unwrap_or(FOREVER).clamp(1, FOREVER)
}

impl IntoFuture for Execute {
    type Output = Result<CommandResult, AgentServerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.start().await?.wait().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!(seconds(0), 1);
        assert_eq!(seconds(500), 1);
        assert_eq!(seconds(1000), 1);
        assert_eq!(seconds(1001), 2);
        assert_eq!(whole_seconds(Duration::MAX), FOREVER);
    }
}
