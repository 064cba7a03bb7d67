//! The caller's ends of a command's pipes.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::process::{Tail, read_available};

/// The standard input of a command. Dropping it closes it.
#[pin_project]
#[derive(Debug)]
pub struct ChildStdin {
    #[pin]
    pipe: Sender,
}

/// The standard output of a command.
#[pin_project]
#[derive(Debug)]
pub struct ChildStdout {
    #[pin]
    pipe: Receiver,
}

/// The standard error of a command.
///
/// Apptainer's own messages of failure come here too, as they do on a terminal.
#[pin_project]
#[derive(Debug)]
pub struct ChildStderr {
    #[pin]
    pipe: Receiver,
    /// Keeps the end of what passes by, where somebody asks for it.
    tail: Option<Tail>,
    /// Read already, to learn why the command failed; not yet given out.
    ahead: BytesMut,
}

impl ChildStdin {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: Sender::from_owned_fd(fd)?,
        })
    }
}

impl ChildStdout {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(fd)?,
        })
    }

    /// Appends what there is to `buffer`, as much as it has room for.
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        poll_chunk(&self.pipe, context, buffer)
    }
}

impl ChildStderr {
    pub(super) fn new(fd: OwnedFd, tail: Option<Tail>) -> io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(fd)?,
            tail,
            ahead: BytesMut::new(),
        })
    }

    fn note(&self, read: &[u8]) {
        if let Some(tail) = &self.tail {
            tail.push(read);
        }
    }

    /// Reads what is in the pipe, for whoever reads later to find.
    pub(super) fn read_ahead(&mut self) {
        let read = read_available(&self.pipe);
        self.note(&read);
        self.ahead.extend_from_slice(&read);
    }

    /// Appends what there is to `buffer`, as much as it has room for.
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let ahead = self.ahead.split();
            buffer.extend_from_slice(&ahead);
            return Poll::Ready(Ok(ahead.len()));
        }
        let before = buffer.len();
        let read = poll_chunk(&self.pipe, context, buffer);
        self.note(&buffer[before..]);
        read
    }
}

fn poll_chunk(
    pipe: &Receiver,
    context: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(pipe.poll_read_ready(context))?;
        match pipe.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read),
        }
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().pipe.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().pipe.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().pipe.poll_shutdown(context)
    }
}

impl AsyncRead for ChildStdout {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().pipe.poll_read(context, buffer)
    }
}

impl AsyncRead for ChildStderr {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = this.pipe.poll_read(context, buffer);
        if let Some(tail) = this.tail {
            tail.push(&buffer.filled()[before..]);
        }
        read
    }
}
