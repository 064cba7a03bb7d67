//! Listening, and connections that can be broken off.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What is listened on.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A path that a socket is at. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Bound(pub(super) PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove a socket");
        }
    }
}

/// A socket that nobody else can connect to, at no moment, where nothing is.
pub(super) fn bind_unix(path: &Path) -> io::Result<(Socket, Bound)> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let private = tempfile::Builder::new().prefix(".g").tempdir_in(folder)?;
    let unseen = private.path().join("s");
    let listener = UnixListener::bind(&unseen)?;
    fs::set_permissions(&unseen, Permissions::from_mode(0o600))?;
    fs::hard_link(&unseen, path)?;
    let bound = Bound(path.to_owned());
    fs::remove_file(&unseen)?;
    Ok((Socket::Unix(listener), bound))
}

/// Accepts connections that are broken off all at once.
pub(super) struct Breakable {
    pub(super) socket: Socket,
    pub(super) dead: CancellationToken,
}

/// A connection of one kind or the other.
pub(super) struct Connection {
    stream: Stream,
    dead: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener for Breakable {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Otherwise short answers may wait for others to be acknowledged.
                    let _ = stream.set_nodelay(true);
                    Stream::Tcp(stream)
                }),
                Socket::Unix(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| Stream::Unix(stream))
                }
            };
            match accepted {
                Ok(stream) => {
                    let dead = Box::pin(self.dead.clone().cancelled_owned());
                    return (Connection { stream, dead }, ());
                }
                Err(error) => {
                    // Of a caller that has gone, or for want of descriptors.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    fn broken(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.dead.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.broken(context)?;
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.broken(context)?;
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.broken(context)?;
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
