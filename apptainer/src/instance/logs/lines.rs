//! The lines of an instance's logs, as a stream.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use futures_core::Stream;
use tokio::task::JoinHandle;

use super::LogError;
use super::output::Output;
use super::watch::Watch;
use crate::exec::Source;
use crate::process::Ended;

/// A line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// Where it comes from.
    pub source: Source,
    /// By when it had been written, if that was asked for and is kept: when it was seen, which
    /// is within 20 ms or so while somebody supervises the instance. What was written while
    /// nobody did has the time at which somebody did again, or that of being read now.
    pub at: Option<SystemTime>,
    /// What stands in it: any bytes, without the `\n` or `\r\n` that ended it.
    pub bytes: Bytes,
    /// Whether its end was there. `false` for a piece of a line of more than 64 KiB, unless it
    /// is its last, and for what was written last without ending it.
    pub is_complete: bool,
}

impl LogLine {
    /// The line as text, in which what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// What an instance wrote, and what it writes if that is followed, line by line.
///
/// A [`Stream`], of [`ReadLogs::lines`](super::ReadLogs::lines). After an error it goes on with
/// what can still be read, and then ends. In memory is at most a block of 64 KiB of each output
/// and as much of an unfinished line. While it waits for more nothing is done.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct LogLines {
    state: State,
    follow: Option<Follow>,
}

#[derive(Debug)]
enum State {
    Here(Outputs),
    /// Blocks are being read, by another thread.
    Reading(JoinHandle<Outputs>),
    Over,
}

/// What tells that there may be more.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) watch: Watch,
    pub(super) ended: Ended,
}

#[derive(Debug)]
pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// Whose lines come next where times do not say.
    turn: usize,
}

impl Outputs {
    pub(super) fn new(outputs: Vec<Output>) -> Self {
        Self { outputs, turn: 0 }
    }

    /// The next line; `None` if that takes reading.
    fn take(&mut self) -> Option<Result<LogLine, LogError>> {
        let mut first = None;
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let is_dry = output.is_dry;
            match output.head() {
                Some(Err(_)) => return output.take(),
                Some(Ok(line)) => {
                    // Of those without times, the one whose turn it is.
                    let order = (line.at, index != self.turn);
                    if first.is_none_or(|(earliest, _)| order < earliest) {
                        first = Some((order, index));
                    }
                }
                None if is_dry => {}
                None => return None,
            }
        }
        self.outputs[first?.1].take()
    }

    fn is_dry(&self) -> bool {
        self.outputs.iter().all(|output| output.is_dry)
    }

    fn fill(&mut self) {
        let mut used_up = Vec::new();
        for (index, output) in self.outputs.iter_mut().enumerate() {
            if output.head().is_none() && !output.is_dry {
                used_up.push(index);
                output.fill();
            }
        }
        if let [one] = used_up[..] {
            self.turn = usize::from(one == 0);
        }
    }

    fn look_again(&mut self) {
        for output in &mut self.outputs {
            output.is_dry = false;
        }
    }

    /// Makes lines of what has no end; whether there are any.
    fn finish(&mut self) -> bool {
        let finished = self.outputs.iter_mut().map(Output::finish);
        finished.fold(false, |any, is_one| any | is_one)
    }
}

impl LogLines {
    pub(super) fn new(outputs: Outputs, follow: Option<Follow>) -> Self {
        Self {
            state: State::Here(outputs),
            follow,
        }
    }

    /// The next line; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<LogLine, LogError>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl LogLines {
    /// Has the next blocks read by another thread.
    fn read(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Here(mut outputs) => State::Reading(tokio::task::spawn_blocking(move || {
                outputs.fill();
                outputs
            })),
            state => state,
        };
    }

    /// Waits until there may be more. At the end of the instance, what is there is all.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LogError>> {
        let Some(Follow { watch, ended }) = &self.follow else {
            return Poll::Ready(Ok(()));
        };
        // Looked at first: what was written before the end is read after this.
        let more = if let Poll::Ready(ended) = ended.poll(context) {
            self.follow = None;
            ended
        } else {
            ready!(watch.poll_changed(context))
        };
        if more.is_err() {
            self.follow = None;
        }
        Poll::Ready(more.map_err(LogError::Watch))
    }
}

impl Stream for LogLines {
    type Item = Result<LogLine, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let is_followed = self.follow.is_some();
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Reading(reading) => match ready!(Pin::new(reading).poll(context)) {
                    Ok(outputs) => self.state = State::Here(outputs),
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime is going down.
                        Err(_) => self.state = State::Over,
                    },
                },
                State::Here(outputs) => {
                    if let Some(line) = outputs.take() {
                        return Poll::Ready(Some(line));
                    }
                    if !outputs.is_dry() {
                        self.read();
                    } else if is_followed {
                        let more = ready!(self.poll_more(context));
                        if let State::Here(outputs) = &mut self.state {
                            outputs.look_again();
                        }
                        if let Err(error) = more {
                            return Poll::Ready(Some(Err(error)));
                        }
                    } else if !outputs.finish() {
                        self.state = State::Over;
                    }
                }
            }
        }
    }
}
