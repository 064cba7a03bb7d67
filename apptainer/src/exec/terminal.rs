//! The caller's end of a command's terminal.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use apptainer_sys::process::{Pty, WindowSize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::{Channel, ChannelInput, ChannelOutput};

/// The other end of the terminal that a command runs at: what is written is as if it were
/// typed, what is read is what the terminal shows.
///
/// Reading comes to its end when nothing has the terminal open any more. Dropping it hangs
/// the terminal up: its processes get `SIGHUP`.
#[derive(Debug)]
pub struct ChildTerminal {
    end: End,
}

#[derive(Debug)]
enum End {
    Pty(AsyncFd<Pty>),
    Channel(Carried),
}

/// A terminal that frames carry.
#[derive(Debug)]
struct Carried {
    input: ChannelInput,
    output: ChannelOutput,
    /// What it was last made.
    size: Mutex<WindowSize>,
}

impl ChildTerminal {
    /// Must be called in a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; a Pty owns one \
            descriptor from first to last"
    )]
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let pty = Pty::from_controller(fd)?;
        let end = End::Pty(AsyncFd::new(pty)?);
        Ok(Self { end })
    }

    /// That of the command on a channel, of this size.
    pub(super) fn of_channel(channel: &Arc<Channel>, size: WindowSize) -> Self {
        let end = End::Channel(Carried {
            input: ChannelInput::new(Arc::clone(channel)),
            output: ChannelOutput::stdout(Arc::clone(channel)),
            size: Mutex::new(size),
        });
        Self { end }
    }

    /// Changes its size; programs in its foreground get `SIGWINCH`.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        match &self.end {
            End::Pty(pty) => pty.get_ref().resize(size),
            End::Channel(carried) => {
                let mut kept = carried.size.lock().unwrap_or_else(PoisonError::into_inner);
                carried.input.channel().resize(size)?;
                *kept = size;
                Ok(())
            }
        }
    }

    /// Both halves, for one task each. The terminal is hung up when both have been dropped.
    pub fn into_split(self) -> (TerminalReader, TerminalWriter) {
        let terminal = Arc::new(self);
        let reader = TerminalReader {
            terminal: Arc::clone(&terminal),
        };
        (reader, TerminalWriter { terminal })
    }

    /// Its size. Over a [stream](super::Link::over) that which it was last given here.
    pub fn size(&self) -> io::Result<WindowSize> {
        match &self.end {
            End::Pty(pty) => pty.get_ref().size(),
            End::Channel(carried) => {
                Ok(*carried.size.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

/// The half of a [`ChildTerminal`] that shows what is on the terminal.
#[derive(Debug)]
pub struct TerminalReader {
    terminal: Arc<ChildTerminal>,
}

/// The half of a [`ChildTerminal`] that is typed into.
#[derive(Debug)]
pub struct TerminalWriter {
    terminal: Arc<ChildTerminal>,
}

impl TerminalWriter {
    /// Changes the terminal's size, as [`ChildTerminal::resize`] does.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        self.terminal.resize(size)
    }
}

/// Nobody has the terminal open any more.
fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EIO)
}

impl ChildTerminal {
    fn poll_shown(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pty = match &self.end {
            End::Pty(pty) => pty,
            End::Channel(carried) => return carried.output.poll_read(context, buffer),
        };
        loop {
            let mut ready = ready!(pty.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match ready.try_io(|pty| pty.get_ref().read(room)) {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if is_closed(&error) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_typed(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let pty = match &self.end {
            End::Pty(pty) => pty,
            End::Channel(carried) => return carried.input.poll_write(context, bytes),
        };
        loop {
            let mut ready = ready!(pty.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|pty| pty.get_ref().write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }
}

impl AsyncRead for ChildTerminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_shown(context, buffer)
    }
}

impl AsyncRead for TerminalReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.terminal.poll_shown(context, buffer)
    }
}

impl AsyncWrite for ChildTerminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_typed(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A terminal has one end for both directions: it is hung up by dropping it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TerminalWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.terminal.poll_typed(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The terminal is hung up when both halves are dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
