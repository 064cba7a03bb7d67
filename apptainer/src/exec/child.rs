//! A command that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apptainer_sys::process::{Exit, Pid, ResourceUsage, Signal};

use super::cli::Cli;
use super::collect::Collected;
use super::ends::Ends;
use super::lines::Lines;
use super::link::Remote;
use super::stream::Watch;
use super::terminal::ChildTerminal;
use super::watchdog::Watchdog;
use super::{
    ChildStderr, ChildStdin, ChildStdout, Chunk, ExecError, ExitStatus, Mechanism, Output,
    OutputStream, Source,
};
use crate::process::Tail;

/// A command that runs, or has ended.
///
/// Dropped before that, it is killed with all that it started, unless
/// [`kill_on_drop`](super::Command::kill_on_drop) was turned off.
#[derive(Debug)]
pub struct Child {
    body: Body,
    watchdog: Option<Watchdog>,
    has_timed_out: Arc<AtomicBool>,
    /// How much is collected of each output.
    output_limit: Option<usize>,
    /// Its standard input, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
    /// The other end of its [terminal](super::Command::terminal), if it has one.
    pub terminal: Option<ChildTerminal>,
}

/// What runs it.
#[derive(Debug)]
enum Body {
    Cli(Box<Cli>),
    Remote(Remote),
}

impl Child {
    pub(super) fn cli(
        cli: Cli,
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
        tail: Tail,
    ) -> Result<Self, ExecError> {
        Ok(Self {
            body: Body::Cli(Box::new(cli)),
            watchdog: None,
            has_timed_out: Arc::default(),
            output_limit: None,
            stdin: stdin.map(ChildStdin::new).transpose()?,
            stdout: stdout.map(ChildStdout::new).transpose()?,
            stderr: stderr
                .map(|fd| ChildStderr::new(fd, Some(tail)))
                .transpose()?,
            terminal: None,
        })
    }

    pub(super) fn remote(remote: Remote, ends: Ends) -> Self {
        Self {
            body: Body::Remote(remote),
            watchdog: None,
            has_timed_out: Arc::default(),
            output_limit: None,
            stdin: ends.stdin,
            stdout: ends.stdout,
            stderr: ends.stderr,
            terminal: ends.terminal,
        }
    }

    /// One that was started by another, who has its streams.
    pub(super) fn reattached(remote: Remote) -> Self {
        Self::remote(remote, Ends::default())
    }

    /// Reads standard error for nobody but the error message.
    pub(super) fn discard_stderr(&mut self) {
        if let (Body::Cli(cli), Some(stderr)) = (&mut self.body, self.stderr.take()) {
            cli.discard(stderr);
        }
    }

    /// Has its outputs collected up to so many bytes.
    pub(super) fn limit_output(&mut self, limit: Option<usize>) {
        self.output_limit = limit;
    }

    pub(super) fn end_after(&mut self, limit: Duration, grace: Duration) -> Result<(), ExecError> {
        let has_fired = Arc::clone(&self.has_timed_out);
        self.watchdog = match &self.body {
            Body::Cli(cli) => match cli.root() {
                Some(root) => Some(Watchdog::of_root(
                    root.try_clone()?,
                    limit,
                    grace,
                    has_fired,
                )),
                None => None,
            },
            Body::Remote(remote) => Some(Watchdog::of_remote(
                remote.control(),
                limit,
                grace,
                has_fired,
            )),
        };
        Ok(())
    }

    /// Its pid; `None` once it has been waited for.
    ///
    /// With [`Mechanism::Agent`] that of the command, as its container numbers it: the
    /// host's numbers are the same unless the container has a PID namespace, as instances
    /// do. With [`Mechanism::Cli`] that of the `apptainer` that runs it, on the host.
    pub fn id(&self) -> Option<Pid> {
        match &self.body {
            Body::Cli(cli) => cli.pid(),
            Body::Remote(remote) => match remote.try_wait() {
                Ok(None) => remote.pid(),
                Ok(Some(_)) | Err(_) => None,
            },
        }
    }

    /// Its number among the commands of its [link](super::Link), by which it can be
    /// [found again](super::Link::reattach). With [`Mechanism::Cli`] it has none.
    pub fn number(&self) -> Option<u64> {
        match &self.body {
            Body::Cli(_) => None,
            Body::Remote(remote) => remote.number(),
        }
    }

    /// By which way it reached its container.
    pub fn mechanism(&self) -> Mechanism {
        match self.body {
            Body::Cli(_) => Mechanism::Cli,
            Body::Remote(_) => Mechanism::Agent,
        }
    }

    /// Whether it was ended because its timeout had passed.
    pub fn timed_out(&self) -> bool {
        self.has_timed_out.load(Ordering::Acquire)
    }

    /// Sends a signal to it and to all that it started.
    ///
    /// That it has ended already is no error. With [`Mechanism::Cli`], before the command
    /// itself runs there is nobody to get the signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ExecError> {
        match &self.body {
            Body::Cli(cli) => cli.signal(signal),
            Body::Remote(remote) => Ok(remote.signal(signal)?),
        }
    }

    /// Sends a signal to its process group: what a terminal's Ctrl-C would reach. With
    /// [`Mechanism::Cli`] to all that it started.
    ///
    /// That it has ended already is no error.
    pub fn signal_group(&self, signal: Signal) -> Result<(), ExecError> {
        match &self.body {
            Body::Cli(cli) => cli.signal(signal),
            Body::Remote(remote) => Ok(remote.signal_group(signal)?),
        }
    }

    /// Kills it and all that it started, without waiting for the end.
    pub fn start_kill(&mut self) -> Result<(), ExecError> {
        match &self.body {
            Body::Cli(cli) => cli.start_kill(),
            Body::Remote(remote) => Ok(remote.start_kill()?),
        }
    }

    /// Kills it and all that it started, and waits for the end.
    ///
    /// Cancel-safe: the killing is done first.
    pub async fn kill(&mut self) -> Result<(), ExecError> {
        match &mut self.body {
            Body::Cli(cli) => cli.kill().await,
            Body::Remote(remote) => {
                remote.start_kill()?;
                remote.wait().await.map(drop)
            }
        }
    }

    /// Waits for the end. Closes standard input first, if that is still here.
    ///
    /// Cancel-safe, and the same answer each time. It reads no output: a command
    /// whose pipes are full does not end until somebody reads them.
    pub async fn wait(&mut self) -> Result<ExitStatus, ExecError> {
        drop(self.stdin.take());
        let ended = match &mut self.body {
            Body::Cli(cli) => cli.wait(self.stderr.as_mut()).await?,
            Body::Remote(remote) => remote.wait().await?,
        };
        Ok(self.ended(ended))
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ExecError> {
        let ended = match &mut self.body {
            Body::Cli(cli) => cli.try_wait(self.stderr.as_mut())?,
            Body::Remote(remote) => remote.try_wait()?,
        };
        Ok(ended.map(|ended| self.ended(ended)))
    }

    fn ended(&mut self, (exit, usage): (Exit, ResourceUsage)) -> ExitStatus {
        // Nothing is left to be ended.
        self.watchdog = None;
        ExitStatus::new(exit, usage)
    }

    /// Waits until it has ended, apart from its handle.
    pub(crate) fn watch(&self) -> Result<impl Future<Output = io::Result<()>> + use<>, ExecError> {
        let watch = self.watch_end()?;
        Ok(std::future::poll_fn(move |context| {
            watch.poll_ended(context)
        }))
    }

    fn watch_end(&self) -> Result<Watch, ExecError> {
        Ok(match &self.body {
            Body::Cli(cli) => Watch::Process(cli.ended()?),
            Body::Remote(remote) => Watch::Remote(remote.control()),
        })
    }

    /// What it writes, as a stream. Takes both outputs, and leaves them as if they
    /// had never been piped.
    pub fn stream(&mut self) -> Result<OutputStream, ExecError> {
        let watch = self.watch_end()?;
        Ok(OutputStream::new(
            self.stdout.take(),
            self.stderr.take(),
            watch,
        ))
    }

    /// The same line by line.
    pub fn lines(&mut self) -> Result<Lines, ExecError> {
        self.stream().map(Lines::new)
    }

    /// Closes standard input, collects the outputs that are piped, and waits.
    ///
    /// All of them, or as much as the [limit](super::Command::output_limit) allows: what
    /// passes that is read all the same, so that it holds nobody up. Dropping the future drops
    /// the command with it.
    pub async fn wait_with_output(mut self) -> Result<Output, ExecError> {
        drop(self.stdin.take());
        let mut stdout = Collected::new(self.output_limit);
        let mut stderr = Collected::new(self.output_limit);
        let mut stream = self.stream()?;
        while let Some(chunk) = stream.next().await {
            let Chunk { source, bytes } = chunk?;
            match source {
                Source::Stdout => stdout.push(bytes),
                Source::Stderr => stderr.push(bytes),
            }
        }
        let is_cut = stream.is_cut();
        drop(stream);
        let status = self.wait().await?;
        let (stdout, stdout_omission) = stdout.finish();
        let (stderr, stderr_omission) = stderr.finish();
        Ok(Output {
            status,
            stdout,
            stderr,
            stdout_omission,
            stderr_omission,
            timed_out: self.timed_out(),
            is_cut,
        })
    }
}
