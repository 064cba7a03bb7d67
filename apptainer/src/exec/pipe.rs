//! The caller's ends of a command's pipes.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::buffer::Buffer;
use super::link::{ChannelInput, ChannelOutput};
use crate::process::{Tail, read_available};

/// The standard input of a command. Dropping it closes it.
#[derive(Debug)]
pub struct ChildStdin {
    sink: Sink,
}

/// The standard output of a command.
#[derive(Debug)]
pub struct ChildStdout {
    source: Source,
}

/// The standard error of a command.
///
/// Apptainer's own messages of failure come here too, as they do on a terminal.
#[derive(Debug)]
pub struct ChildStderr {
    source: Source,
    /// Keeps the end of what passes by, where somebody asks for it.
    tail: Option<Tail>,
    /// Read already, to learn why the command failed; not yet given out.
    ahead: BytesMut,
}

/// Where what a command reads comes from.
#[derive(Debug)]
enum Sink {
    Pipe(Sender),
    Channel(ChannelInput),
}

/// Where what a command writes goes to.
#[derive(Debug)]
enum Source {
    Pipe(Receiver),
    Channel(ChannelOutput),
}

/// What a pipe holds at most, unless the command has made it larger.
pub(super) const PIPE: usize = 256 * 1024;

impl Source {
    fn pipe(fd: OwnedFd) -> io::Result<Self> {
        Receiver::from_owned_fd(fd).map(Self::Pipe)
    }

    /// What there is, read into `buffer` where it has to be; nothing at the end.
    fn poll_bytes(
        &self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Bytes>> {
        let pipe = match self {
            Self::Pipe(pipe) => pipe,
            Self::Channel(output) => return output.poll_bytes(context),
        };
        loop {
            ready!(pipe.poll_read_ready(context))?;
            match pipe.try_read_buf(buffer.room()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|_| buffer.take())),
            }
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(context, buffer),
            Self::Channel(output) => output.poll_read(context, buffer),
        }
    }

    /// Whether it is known that all has been read that the command wrote before it ended.
    /// Of a pipe nothing is known.
    fn is_drained(&self) -> bool {
        match self {
            Self::Pipe(_) => true,
            Self::Channel(output) => output.is_drained(),
        }
    }
}

impl ChildStdin {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let sink = Sink::Pipe(Sender::from_owned_fd(fd)?);
        Ok(Self { sink })
    }

    pub(super) fn of_channel(input: ChannelInput) -> Self {
        let sink = Sink::Channel(input);
        Self { sink }
    }
}

impl ChildStdout {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let source = Source::pipe(fd)?;
        Ok(Self { source })
    }

    pub(super) fn of_channel(output: ChannelOutput) -> Self {
        let source = Source::Channel(output);
        Self { source }
    }

    /// What there is, read into `buffer` where it has to be; nothing at the end.
    pub(super) fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Bytes>> {
        self.source.poll_bytes(context, buffer)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.source.is_drained()
    }
}

impl ChildStderr {
    pub(super) fn new(fd: OwnedFd, tail: Option<Tail>) -> io::Result<Self> {
        let source = Source::pipe(fd)?;
        Ok(Self {
            source,
            tail,
            ahead: BytesMut::new(),
        })
    }

    pub(super) fn of_channel(output: ChannelOutput) -> Self {
        Self {
            source: Source::Channel(output),
            tail: None,
            ahead: BytesMut::new(),
        }
    }

    fn note(&self, read: &[u8]) {
        if let Some(tail) = &self.tail {
            tail.push(read);
        }
    }

    /// Reads what is in the pipe, for whoever reads later to find.
    pub(super) fn read_ahead(&mut self) {
        if let Source::Pipe(pipe) = &self.source {
            let read = read_available(pipe);
            self.note(&read);
            self.ahead.extend_from_slice(&read);
        }
    }

    /// What there is, read into `buffer` where it has to be; nothing at the end.
    pub(super) fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Bytes>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(self.ahead.split().freeze()));
        }
        let read = ready!(self.source.poll_bytes(context, buffer))?;
        self.note(&read);
        Poll::Ready(Ok(read))
    }

    pub(super) fn is_drained(&self) -> bool {
        self.source.is_drained()
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().sink {
            Sink::Pipe(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Sink::Channel(input) => input.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().sink {
            Sink::Pipe(pipe) => Pin::new(pipe).poll_flush(context),
            Sink::Channel(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().sink {
            Sink::Pipe(pipe) => Pin::new(pipe).poll_shutdown(context),
            Sink::Channel(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().source.poll_read(context, buffer)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = this.source.poll_read(context, buffer);
        this.note(&buffer.filled()[before..]);
        read
    }
}
