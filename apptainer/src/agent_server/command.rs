//! Shell lines that run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use super::events::{Outputs, Starting};
use super::http::Http;
use super::wire::{BashCommand, BashEvent, BashEventPage, BashOutput, ExecuteBashRequest, Success};
use super::{AgentServer, AgentServerError};
use crate::workspace::CommandResult;

const DOING: &str = "run a shell line";
const STOPPING: &str = "stop a shell line";

/// How long a server takes to stop a line at most, which has a second for each of two signals.
const STOPPED: Duration = Duration::from_secs(4);

/// How long nothing is told until the server is asked: the connection may be dead without a word.
const SILENCE: Duration = Duration::from_secs(15);

/// How long it is at first from one question to the next, and at last.
const ASKING: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// What the server says where it could not start a line.
const NOT_STARTED: &str = "Error executing command: ";

/// How long a line may take, from before it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    began: Instant,
    limit: Option<Duration>,
}

impl Limit {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let began = Instant::now();
        Self { began, limit }
    }

    fn at(self) -> Option<Instant> {
        self.began.checked_add(self.limit?)
    }

    fn is_over(self) -> bool {
        self.limit
            .is_some_and(|limit| self.began.elapsed() >= limit)
    }
}

/// A shell line that a server runs: from [`Execute::start`](super::Execute::start).
///
/// Dropped before it has ended it is stopped, if the server is 1.58 or later. What it writes is kept
/// until it is taken.
#[derive(Debug)]
pub struct RunningCommand {
    http: Arc<Http>,
    can_stop: bool,
    id: String,
    limit: Limit,
    source: Source,
    /// What has been told, by number, while the server may tell it twice.
    seen: HashSet<String>,
    ended: Option<Ended>,
}

/// By what it is known what the line does.
#[derive(Debug)]
enum Source {
    Told(Outputs),
    Asked {
        pause: Duration,
        known: Vec<BashOutput>,
        /// From which on outputs are asked for.
        order: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ended {
    exit_code: i32,
    timed_out: bool,
}

/// A part of what a line wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputChunk {
    /// To its standard output.
    pub stdout: Bytes,
    /// To its standard error.
    pub stderr: Bytes,
}

/// Starts a line. Dropped meanwhile, it is stopped.
pub(super) async fn start(
    server: &AgentServer,
    request: ExecuteBashRequest,
    limit: Limit,
) -> Result<RunningCommand, AgentServerError> {
    let starting = server.shared.events.starting().await;
    let http = Arc::clone(&server.shared.http);
    let can_stop = server.shared.version.stops();
    // What has been sent may have begun, so that is waited for whoever is gone.
    let task = tokio::spawn(async move {
        let post = http.post("api/bash/start_bash_command").json(&request);
        let command: BashCommand = http.json(DOING, post).await?;
        Ok(RunningCommand::new(
            http, can_stop, command.id, limit, starting,
        ))
    });
    match task.await {
        Ok(started) => started,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(AgentServerError::Lost {
                doing: DOING,
                reason: "the runtime ends".to_owned(),
            }),
        },
    }
}

impl RunningCommand {
    fn new(
        http: Arc<Http>,
        can_stop: bool,
        id: String,
        limit: Limit,
        starting: Option<Starting>,
    ) -> Self {
        let source = match starting {
            Some(starting) => Source::Told(starting.outputs(&id)),
            None => Source::asked(0),
        };
        Self {
            http,
            can_stop,
            id,
            limit,
            source,
            seen: HashSet::new(),
            ended: None,
        }
    }

    /// Its number: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// More of what it wrote; `None` when it has ended. Cancel-safe.
    ///
    /// Servers tell of it when there is more than 1 MiB, and at the end.
    pub async fn next(&mut self) -> Result<Option<OutputChunk>, AgentServerError> {
        while self.ended.is_none() {
            let Some(at) = self.limit.at() else {
                let output = self.output().await?;
                return self.take(output);
            };
            match timeout_at(at, self.output()).await {
                Ok(output) => return self.take(output?),
                Err(_) if self.can_stop => return self.time_is_up().await,
                Err(_) => self.end(-1, true),
            }
        }
        Ok(None)
    }

    /// Waits until it has ended, and collects what has not been taken of what it wrote.
    pub async fn wait(mut self) -> Result<CommandResult, AgentServerError> {
        let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
        while let Some(chunk) = self.next().await? {
            stdout.extend_from_slice(&chunk.stdout);
            stderr.extend_from_slice(&chunk.stderr);
        }
        // There is no more only then.
        let ended = self.ended.unwrap_or(Ended {
            exit_code: -1,
            timed_out: false,
        });
        Ok(CommandResult {
            exit_code: ended.exit_code,
            stdout: stdout.freeze(),
            stderr: stderr.freeze(),
            timed_out: ended.timed_out,
        })
    }

    /// Stops it: `SIGTERM`, and a second later `SIGKILL` to its process group. How it ended then is
    /// told by [`wait`](Self::wait). That it has ended already is no error.
    ///
    /// # Errors
    ///
    /// The server is older than 1.58.
    pub async fn stop(&self) -> Result<(), AgentServerError> {
        if !self.can_stop {
            return Err(AgentServerError::Input {
                doing: STOPPING,
                reason: "servers older than 1.58 cannot; give the line a timeout".to_owned(),
            });
        }
        stop(&self.http, &self.id).await
    }

    fn end(&mut self, exit_code: i32, timed_out: bool) {
        self.ended = Some(Ended {
            exit_code,
            timed_out,
        });
    }

    /// What was told, and whether that was the last of it.
    fn take(&mut self, output: BashOutput) -> Result<Option<OutputChunk>, AgentServerError> {
        if let Some(exit_code) = output.exit_code {
            let timed_out = exit_code == -1 && self.limit.is_over();
            self.end(exit_code, timed_out);
            let text = output.stderr.as_deref().unwrap_or_default();
            if exit_code == -1
                && !timed_out
                && let Some(detail) = text.strip_prefix(NOT_STARTED)
            {
                return Err(AgentServerError::NotStarted {
                    detail: detail.to_owned(),
                });
            }
        }
        let bytes = |text: Option<String>| Bytes::from(text.unwrap_or_default());
        Ok(Some(OutputChunk {
            stdout: bytes(output.stdout),
            stderr: bytes(output.stderr),
        }))
    }

    /// Stops it, and takes what it has written.
    async fn time_is_up(&mut self) -> Result<Option<OutputChunk>, AgentServerError> {
        // Where this future is dropped, dropping the line stops it.
        stop(&self.http, &self.id).await?;
        let until = Instant::now() + STOPPED;
        let mut all = (BytesMut::new(), BytesMut::new());
        while self.ended.is_none() {
            let Ok(output) = timeout_at(until, self.output()).await else {
                break;
            };
            if let Some(chunk) = self.take(output?)? {
                all.0.extend_from_slice(&chunk.stdout);
                all.1.extend_from_slice(&chunk.stderr);
            }
        }
        self.end(-1, true);
        Ok(Some(OutputChunk {
            stdout: all.0.freeze(),
            stderr: all.1.freeze(),
        }))
    }

    /// The next that is told, or found by asking. Cancel-safe.
    async fn output(&mut self) -> Result<BashOutput, AgentServerError> {
        loop {
            let output = match &mut self.source {
                Source::Told(outputs) => {
                    match tokio::time::timeout(SILENCE, outputs.next()).await {
                        Ok(Some(output)) => output,
                        // What is found then has been missed.
                        Err(_) if !has_ended(&self.http, &self.id).await? => continue,
                        Ok(None) | Err(_) => {
                            self.source = Source::asked(0);
                            continue;
                        }
                    }
                }
                Source::Asked {
                    pause,
                    known,
                    order,
                } => {
                    let Some(output) = known.pop() else {
                        let mut found = search(&self.http, &self.id, *order).await?;
                        found.retain(|output| !self.seen.contains(&output.id));
                        found.reverse();
                        if found.is_empty() {
                            tokio::time::sleep(*pause).await;
                            *pause = (*pause * 2).min(ASKING[1]);
                        }
                        *known = found;
                        continue;
                    };
                    *order = output.order;
                    output
                }
            };
            if self.seen.insert(output.id.clone()) {
                return Ok(output);
            }
        }
    }
}

impl Source {
    fn asked(order: u64) -> Self {
        Self::Asked {
            pause: ASKING[0],
            known: Vec::new(),
            order,
        }
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if self.ended.is_none()
            && self.can_stop
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (http, id) = (Arc::clone(&self.http), std::mem::take(&mut self.id));
            runtime.spawn(async move {
                if let Err(error) = stop(&http, &id).await {
                    tracing::debug!(%error, "a line that nobody waits for is not stopped");
                }
            });
        }
    }
}

async fn stop(http: &Http, id: &str) -> Result<(), AgentServerError> {
    let post = http.post(&format!("api/bash/bash_commands/{id}/stop"));
    let _: Success = http.json(STOPPING, post).await?;
    Ok(())
}

/// Whether the server has the line's end.
async fn has_ended(http: &Http, id: &str) -> Result<bool, AgentServerError> {
    let request = http.get("api/bash/bash_events/search").query(&[
        ("kind__eq", "BashOutput"),
        ("command_id__eq", id),
        ("sort_order", "TIMESTAMP_DESC"),
        ("limit", "1"),
    ]);
    let page: BashEventPage = http.json(DOING, request).await?;
    let is_end = |event: &BashEvent| matches!(event, BashEvent::Output(output) if output.exit_code.is_some());
    Ok(page.items.iter().any(is_end))
}

/// All that the server has of what a line wrote, from one of that order on.
async fn search(http: &Http, id: &str, order: u64) -> Result<Vec<BashOutput>, AgentServerError> {
    let mut found = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut request = http.get("api/bash/bash_events/search").query(&[
            ("kind__eq", "BashOutput"),
            ("command_id__eq", id),
            ("sort_order", "TIMESTAMP"),
            ("limit", "100"),
        ]);
        // Two may have the same, where both streams are written to.
        if let Some(before) = order.checked_sub(1) {
            request = request.query(&[("order__gt", before)]);
        }
        if let Some(page) = &next {
            request = request.query(&[("page_id", page)]);
        }
        let page: BashEventPage = http.json(DOING, request).await?;
        let outputs = page.items.into_iter().filter_map(|event| match event {
            BashEvent::Output(output) => Some(output),
            _ => None,
        });
        found.extend(outputs);
        match page.next_page_id {
            Some(id) if next.as_ref() != Some(&id) => next = Some(id),
            _ => return Ok(found),
        }
    }
}
