//! Running what is asked for, and telling of it.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Exit, Signal};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::state::Shared;
use super::text::take_text;
use crate::Child;
use crate::agent_server::wire::BashCommand;
use crate::exec::{Chunk, OutputStream, Source};
use crate::workspace::WorkspaceError;

/// How long a command may take to obey.
const GRACE: Duration = Duration::from_secs(1);

/// A command that runs.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) command: BashCommand,
    pub(super) stop: CancellationToken,
    /// Held until it has ended.
    pub(super) turn: OwnedSemaphorePermit,
}

/// What has been written and is not told of yet.
#[derive(Default)]
struct Pending {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How many times it has been told.
    order: u64,
    /// When it is to be told.
    due: Option<Instant>,
}

impl Pending {
    /// After how long and how many bytes it is told: so that a command makes few events, however much
    /// it writes, and the first are there soon.
    fn measure(&self) -> (Duration, usize) {
        match self.order {
            0..20 => (Duration::from_millis(50), 64 << 10),
            20..60 => (Duration::from_millis(200), 256 << 10),
            _ => (Duration::from_secs(1), 1 << 20),
        }
    }

    /// Whether that is so much that it is to be told now.
    fn add(&mut self, chunk: &Chunk) -> bool {
        let (time, size) = self.measure();
        match chunk.source {
            Source::Stdout => self.stdout.extend_from_slice(&chunk.bytes),
            Source::Stderr => self.stderr.extend_from_slice(&chunk.bytes),
        }
        self.due.get_or_insert_with(|| Instant::now() + time);
        self.stdout.len() + self.stderr.len() >= size
    }

    fn take(&mut self) -> (u64, String, String) {
        self.due = None;
        let (stdout, stderr) = (take_text(&mut self.stdout), take_text(&mut self.stderr));
        let order = self.order;
        if !(stdout.is_empty() && stderr.is_empty()) {
            self.order += 1;
        }
        (order, stdout, stderr)
    }

    /// All of it, with what is no text in the end.
    fn take_last(mut self) -> (u64, String, String) {
        let (order, mut stdout, mut stderr) = self.take();
        stdout.push_str(&String::from_utf8_lossy(&self.stdout));
        stderr.push_str(&String::from_utf8_lossy(&self.stderr));
        (order, stdout, stderr)
    }
}

impl Run {
    /// Runs it to its end.
    pub(super) async fn run(self) {
        let mut pending = Pending::default();
        let ended = self.follow(&mut pending).await;
        let (order, stdout, mut stderr) = pending.take_last();
        let code = match ended {
            Ok(Some(code)) => code,
            Ok(None) => {
                let seconds = self.command.timeout;
                let _ = write!(stderr, "Command timed out after {seconds} seconds");
                -1
            }
            Err(error) => {
                let _ = write!(stderr, "Error executing command: {}", sources(&error));
                -1
            }
        };
        let events = &self.shared.events;
        events.ended(&self.command.id, order, code, stdout, stderr);
        drop(self.turn);
    }

    /// Tells what it writes, but for what is pending in the end. Returns how it ended; nothing, where
    /// it took too long.
    async fn follow(&self, pending: &mut Pending) -> Result<Option<i32>, WorkspaceError> {
        let mut execute = self.shared.workspace.execute(&self.command.command);
        if let Some(path) = &self.command.cwd {
            execute = execute.current_dir(path);
        }
        let seconds = u64::try_from(self.command.timeout).unwrap_or(0).max(1);
        let execute = execute.timeout(Duration::from_secs(seconds));
        let dead = &self.shared.dead;
        let spawned = tokio::select! {
            () = dead.cancelled() => return Ok(Some(-Signal::KILL.number())),
            spawned = execute.spawn() => spawned,
        };
        let mut child = spawned?;
        let mut stream = child.stream()?;
        let told = tokio::select! {
            () = dead.cancelled() => return Ok(Some(-Signal::KILL.number())),
            told = self.tell(&mut child, &mut stream, pending) => told,
        };
        told.map_err(|error| WorkspaceError::Exec(error.into()))?;
        let status = child.wait().await?;
        Ok((!child.timed_out()).then(|| code(status.exit())))
    }

    async fn tell(
        &self,
        child: &mut Child,
        stream: &mut OutputStream,
        pending: &mut Pending,
    ) -> io::Result<()> {
        let mut kill = None;
        let mut is_stopping = false;
        loop {
            let (due, kill_at) = (pending.due, kill);
            let is_due = tokio::select! {
                chunk = stream.next() => match chunk {
                    Some(chunk) => pending.add(&chunk?),
                    None => return Ok(()),
                },
                () = wait(due) => true,
                () = self.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    kill = Some(Instant::now() + GRACE);
                    child.signal(Signal::TERM).map_err(io::Error::other)?;
                    false
                }
                () = wait(kill_at) => {
                    kill = None;
                    child.start_kill().map_err(io::Error::other)?;
                    false
                }
            };
            if is_due {
                let (order, stdout, stderr) = pending.take();
                if !(stdout.is_empty() && stderr.is_empty()) {
                    let events = &self.shared.events;
                    events.wrote(&self.command.id, order, stdout, stderr);
                }
            }
        }
    }
}

/// Until then; for ever without that.
async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// As Python has it.
fn code(exit: Exit) -> i32 {
    let signal = || exit.signal().map(|signal| -signal.number());
    exit.code().or_else(signal).unwrap_or(-1)
}

/// An error with what it comes from.
pub(super) fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
