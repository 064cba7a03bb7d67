//! Frames, as they come.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::inflow::SMALL;
use crate::exec::link::frame::{HEADER, Header, Kind, Stream};
use crate::exec::link::protocol::{Malformed, Reply};

/// How much is read at once where nothing long is expected.
const READ: usize = 8 * 1024;

/// Reads frames that an agent sends.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    /// Of what was read, what has not been looked at.
    buffer: BytesMut,
}

/// Why there is no next frame.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream has ended.
    Ended,
    /// It cannot be read.
    Io(io::Error),
    /// It carries something else.
    Malformed,
}

impl From<Malformed> for Broken {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::with_capacity(READ),
        }
    }

    /// The next one. Not cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(Header, BytesMut), Broken> {
        self.fill(HEADER).await?;
        let header = self.buffer.split_to(HEADER);
        let header = header.first_chunk().ok_or(Malformed)?;
        let header = Header::decode(header)?;
        if !is_said_by_agents(header) {
            return Err(Broken::Malformed);
        }
        let length = header.length as usize;
        if length <= SMALL {
            self.fill(length).await?;
            return Ok((header, self.buffer.split_to(length)));
        }
        // It comes to lie where it stays, but for what has been read already.
        let mut payload = BytesMut::with_capacity(length);
        payload.put(self.buffer.split_to(length.min(self.buffer.len())));
        while payload.len() < length {
            let missing = length - payload.len();
            let mut room = (&mut payload).limit(missing);
            if self.reader.read_buf(&mut room).await? == 0 {
                return Err(Broken::Ended);
            }
        }
        Ok((header, payload))
    }

    /// Reads until so many bytes are there.
    async fn fill(&mut self, length: usize) -> Result<(), Broken> {
        while self.buffer.len() < length {
            self.buffer.reserve(READ);
            let mut room = (&mut self.buffer).limit(READ);
            if self.reader.read_buf(&mut room).await? == 0 {
                return Err(Broken::Ended);
            }
        }
        Ok(())
    }
}

/// Whether it is a frame that an agent may send.
fn is_said_by_agents(header: Header) -> bool {
    match header.kind {
        Kind::Message => header.length as usize <= Reply::MAX,
        Kind::Data(stream) | Kind::End(stream) | Kind::Drained(stream) => stream != Stream::Stdin,
        Kind::Credit(stream) | Kind::Close(stream) => stream == Stream::Stdin,
        Kind::Words | Kind::HangUp => false,
    }
}
