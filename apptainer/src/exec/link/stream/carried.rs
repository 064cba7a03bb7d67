//! The caller's ends of a command's streams where frames carry them.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::channel::Channel;
use crate::exec::link::frame::Stream;

/// What a command reads. Dropped, it has ended.
#[derive(Debug)]
pub(crate) struct ChannelInput(Arc<Channel>);

/// What a command writes. Dropped, nobody reads it.
#[derive(Debug)]
pub(crate) struct ChannelOutput {
    channel: Arc<Channel>,
    stream: Stream,
}

impl ChannelInput {
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        Self(channel)
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.0
    }

    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }
}

impl Drop for ChannelInput {
    fn drop(&mut self) {
        self.0.end_input();
    }
}

impl ChannelOutput {
    pub(crate) fn stdout(channel: Arc<Channel>) -> Self {
        let stream = Stream::Stdout;
        Self { channel, stream }
    }

    pub(crate) fn stderr(channel: Arc<Channel>) -> Self {
        let stream = Stream::Stderr;
        Self { channel, stream }
    }

    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let taken = self.channel.poll_take(self.stream, context, |output| {
            let first = output.first();
            let length = first.len().min(buffer.remaining());
            buffer.put_slice(&first[..length]);
            output.consume(length);
            (length > 0).then_some(())
        });
        taken.map_ok(|_| ())
    }

    /// The next bytes as they came; none at the end.
    pub(crate) fn poll_bytes(&self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let taken = self
            .channel
            .poll_take(self.stream, context, super::inflow::Inflow::take);
        taken.map_ok(|bytes| bytes.map_or_else(Bytes::new, bytes::BytesMut::freeze))
    }

    /// Whether all has been taken that the command wrote before it ended.
    pub(crate) fn is_drained(&self) -> bool {
        self.channel.is_drained(self.stream)
    }
}

impl Drop for ChannelOutput {
    fn drop(&mut self) {
        self.channel.close_output(self.stream);
    }
}
