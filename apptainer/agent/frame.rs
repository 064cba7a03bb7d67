//! Frames: how messages and the bytes of many commands share one stream.
//!
//! `PROTOCOL.md` beside this file tells the whole of it. Like `protocol.rs`, this file is
//! compiled into both sides.

use super::protocol::Malformed;

/// How long a frame's header is.
pub(crate) const HEADER: usize = 12;

/// The most bytes that one frame carries.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024;

/// How many bytes of a standard stream may be under way before the reader has said that
/// it has taken some.
pub(crate) const WINDOW: u32 = 256 * 1024;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It carries a message: a request or a reply.
    Message,
    /// It carries a part of the words of the next command on this channel.
    Words,
    /// It carries bytes of a standard stream.
    Data(Stream),
    /// That stream has ended.
    End(Stream),
    /// So many more bytes of that stream may be sent: four bytes of payload.
    Credit(Stream),
    /// Nobody will read that stream any more.
    Close(Stream),
    /// All that was in that stream when the command ended has been sent.
    Drained(Stream),
    /// Nobody holds the command any more. The channel is not used again.
    HangUp,
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
}

impl Stream {
    const ALL: [Self; 3] = [Self::Stdin, Self::Stdout, Self::Stderr];
}

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whose it is: 0 for the link itself, another number for each command.
    pub(crate) channel: u32,
    pub(crate) kind: Kind,
    /// How many bytes follow.
    pub(crate) length: u32,
}

impl Header {
    /// Reads one.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<Self, Malformed> {
        let [c0, c1, c2, c3, kind, stream, z0, z1, l0, l1, l2, l3] = *bytes;
        let (channel, length) = (
            u32::from_le_bytes([c0, c1, c2, c3]),
            u32::from_le_bytes([l0, l1, l2, l3]),
        );
        let stream = *Stream::ALL.get(usize::from(stream)).ok_or(Malformed)?;
        // The longest and the shortest payload.
        let (kind, most, least) = match kind {
            0 => (Kind::Message, MAX_PAYLOAD, 1),
            1 => (Kind::Words, MAX_PAYLOAD, 1),
            2 => (Kind::Data(stream), MAX_PAYLOAD, 1),
            3 => (Kind::End(stream), 0, 0),
            4 => (Kind::Credit(stream), 4, 4),
            5 => (Kind::Close(stream), 0, 0),
            6 => (Kind::HangUp, 0, 0),
            7 => (Kind::Drained(stream), 0, 0),
            _ => return Err(Malformed),
        };
        let is_of_stream = !matches!(kind, Kind::Message | Kind::Words | Kind::HangUp);
        let is_long_enough = (least..=most).contains(&(length as usize));
        // On the link itself there are only messages.
        let is_on_channel = channel != 0 || kind == Kind::Message;
        if [z0, z1] != [0, 0]
            || !is_long_enough
            || !is_on_channel
            || (!is_of_stream && stream != Stream::Stdin)
        {
            return Err(Malformed);
        }
        Ok(Self {
            channel,
            kind,
            length,
        })
    }

    /// Writes it.
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let (kind, stream) = match self.kind {
            Kind::Message => (0, Stream::Stdin),
            Kind::Words => (1, Stream::Stdin),
            Kind::Data(stream) => (2, stream),
            Kind::End(stream) => (3, stream),
            Kind::Credit(stream) => (4, stream),
            Kind::Close(stream) => (5, stream),
            Kind::HangUp => (6, Stream::Stdin),
            Kind::Drained(stream) => (7, stream),
        };
        let [c0, c1, c2, c3] = self.channel.to_le_bytes();
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        [c0, c1, c2, c3, kind, stream as u8, 0, 0, l0, l1, l2, l3]
    }
}
