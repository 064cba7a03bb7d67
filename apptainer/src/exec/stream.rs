//! Both outputs of a command as one stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Sleep;

use super::buffer::Buffer;
use super::link::Line;
use super::pipe::PIPE;
use super::{ChildStderr, ChildStdout};
use crate::process::Ended;

/// Where a [`Chunk`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Some bytes that a command wrote: whatever one read gave, which is neither a
/// line nor a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where they come from.
    pub source: Source,
    /// The bytes; never none.
    pub bytes: Bytes,
}

/// What a command writes, as it writes it.
///
/// A [`Stream`] of [`Chunk`]s, in order within each source. It ends when both
/// outputs are closed, or when the command has ended and something it left in the
/// background has kept an output open for 250 ms more. All that the command
/// itself wrote is delivered first, however slowly it is read.
///
/// While it is not read the command waits, once its pipes are full: a reader that
/// stops costs no memory, and over a [stream](super::Link::over) 256 KiB for each output.
/// Chunks are not copied. Those that are kept share memory with others that came at about the
/// same time: 32 KiB of a command that says little, up to 1 MiB of one that says much. Dropping
/// the stream closes the pipes.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct OutputStream {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    turn: Source,
    buffer: Buffer,
    phase: Phase,
    is_cut: bool,
}

#[derive(Debug)]
enum Phase {
    /// The command runs.
    Running(Watch),
    /// It has ended; what it left behind may write until this is over.
    Grace(Pin<Box<Sleep>>),
    /// Only what the pipes held when the grace was over is still read: at most
    /// this many bytes.
    Draining(usize),
}

/// What tells that a command has ended.
#[derive(Debug)]
pub(super) enum Watch {
    Process(Ended),
    Remote(Line),
}

impl Watch {
    pub(super) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Process(ended) => ended.poll(context),
            Self::Remote(control) => control.poll_ended(context),
        }
    }
}

/// How long what a command left in the background may go on writing.
const GRACE: Duration = Duration::from_millis(250);

impl OutputStream {
    pub(super) fn new(
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
        watch: Watch,
    ) -> Self {
        Self {
            stdout,
            stderr,
            turn: Source::Stdout,
            buffer: Buffer::default(),
            phase: Phase::Running(watch),
            is_cut: false,
        }
    }

    /// Whether it ended although an output was still open: something that the
    /// command left in the background holds it.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next chunk; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn is_closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    fn is_drained(&self) -> bool {
        self.stdout.as_ref().is_none_or(ChildStdout::is_drained)
            && self.stderr.as_ref().is_none_or(ChildStderr::is_drained)
    }

    fn close(&mut self) {
        self.stdout = None;
        self.stderr = None;
    }

    /// Goes from one phase to the next where its time has come.
    fn advance(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Phase::Running(watch) = &self.phase {
            // Where it is known, all that the command itself wrote comes before the grace.
            if !self.is_drained() {
                return Ok(());
            }
            match watch.poll_ended(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ended) => ended?,
            }
            self.phase = Phase::Grace(Box::pin(tokio::time::sleep(GRACE)));
        }
        if let Phase::Grace(sleep) = &mut self.phase
            && sleep.as_mut().poll(context).is_ready()
        {
            self.phase = Phase::Draining(2 * PIPE);
        }
        Ok(())
    }

    /// Reads from one source. `None` when it has just been found closed.
    fn poll_source(
        &mut self,
        source: Source,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let buffer = &mut self.buffer;
        let read = match source {
            Source::Stdout => self
                .stdout
                .as_mut()
                .map(|pipe| pipe.poll_bytes(context, buffer)),
            Source::Stderr => self
                .stderr
                .as_mut()
                .map(|pipe| pipe.poll_bytes(context, buffer)),
        };
        match read {
            None | Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            Some(Poll::Ready(Ok(bytes))) if bytes.is_empty() => {
                match source {
                    Source::Stdout => self.stdout = None,
                    Source::Stderr => self.stderr = None,
                }
                Poll::Ready(Ok(None))
            }
            Some(Poll::Ready(Ok(bytes))) => {
                if let Phase::Draining(left) = &mut self.phase {
                    *left = left.saturating_sub(bytes.len());
                }
                Poll::Ready(Ok(Some(Chunk { source, bytes })))
            }
        }
    }
}

impl Stream for OutputStream {
    type Item = io::Result<Chunk>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_closed() {
            return Poll::Ready(None);
        }
        let was_drained = this.is_drained();
        if let Err(error) = this.advance(context) {
            this.close();
            return Poll::Ready(Some(Err(error)));
        }
        if matches!(this.phase, Phase::Draining(0)) {
            this.is_cut = true;
            this.close();
            return Poll::Ready(None);
        }
        let order = match this.turn {
            Source::Stdout => [Source::Stdout, Source::Stderr],
            Source::Stderr => [Source::Stderr, Source::Stdout],
        };
        for source in order {
            match this.poll_source(source, context) {
                Poll::Pending | Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(chunk))) => {
                    this.turn = order[usize::from(source == order[0])];
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(Err(error)) => {
                    this.close();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        if this.is_closed() {
            return Poll::Ready(None);
        }
        if matches!(this.phase, Phase::Draining(_)) {
            this.is_cut = true;
            this.close();
            return Poll::Ready(None);
        }
        // What drained them may have come before anybody was to be woken by it.
        if !was_drained && let Err(error) = this.advance(context) {
            this.close();
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Pending
    }
}
