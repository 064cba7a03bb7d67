//! What a session's shell and its lines write.

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe::Receiver;

use crate::exec::{Chunk, Source};
use crate::process::read_available;

/// Both outputs, as the session has them.
#[derive(Debug)]
pub(super) struct Outputs {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    buffer: BytesMut,
}

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

impl Outputs {
    /// Must be called in a tokio runtime.
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stdout: Some(Receiver::from_owned_fd(stdout)?),
            stderr: Some(Receiver::from_owned_fd(stderr)?),
            buffer: BytesMut::new(),
        })
    }

    /// What comes next; `None` where an output has been found closed. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Chunk>> {
        tokio::select! {
            ready = readable(self.stdout.as_ref()) => {
                ready?;
                self.read(Source::Stdout)
            }
            ready = readable(self.stderr.as_ref()) => {
                ready?;
                self.read(Source::Stderr)
            }
        }
    }

    fn read(&mut self, source: Source) -> io::Result<Option<Chunk>> {
        let pipe = match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        };
        let Some(open) = pipe else {
            return Ok(None);
        };
        self.buffer.reserve(CHUNK);
        match open.try_read_buf(&mut self.buffer) {
            Ok(0) => {
                *pipe = None;
                Ok(None)
            }
            Ok(_) => {
                let bytes = self.buffer.split().freeze();
                Ok(Some(Chunk { source, bytes }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in the pipes now.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        let of = |source, pipe: &Option<Receiver>| {
            let bytes = pipe.as_ref().map(read_available).unwrap_or_default();
            (!bytes.is_empty()).then(|| Chunk {
                source,
                bytes: Bytes::from(bytes),
            })
        };
        let all = [
            of(Source::Stdout, &self.stdout),
            of(Source::Stderr, &self.stderr),
        ];
        all.into_iter().flatten().collect()
    }
}

async fn readable(pipe: Option<&Receiver>) -> io::Result<()> {
    match pipe {
        Some(pipe) => pipe.readable().await,
        None => std::future::pending().await,
    }
}
