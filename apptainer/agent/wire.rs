//! The stream transport: frames in, frames out.

use crate::frame::{HEADER, Header, Kind, MAX_PAYLOAD, Stream};
use crate::pages::{List, Pages};
use crate::places::{Key, Places};
use crate::protocol::Reply;
use crate::relay::{Relay, Source};
use crate::socket::Written;
use crate::sys::{self, Errno, Fd, Result};
use crate::terminal;

/// How much may wait to be sent before no more requests are taken.
const QUEUED: usize = 256 * 1024;

/// How much a pipe is to hold, so that its two ends wait for each other less often.
pub(crate) const PIPE: usize = 256 * 1024;

/// How many frames are sent in a turn.
const FRAMES: usize = 64;

/// Both directions, and all that they carry.
pub(crate) struct Wire {
    input: Fd,
    output: Fd,
    pub(crate) incoming: Incoming,
    /// What is to be sent before anything else, and how much of that has been.
    queue: List<u8>,
    sent: usize,
    /// The rest of a frame whose payload goes straight from a pipe.
    payload: Option<Payload>,
    is_writable: bool,
    has_more: bool,
    /// Through which the kernel moves bytes from a command's pipe to the output; nothing,
    /// where they are copied.
    through: Option<Through>,
    buffer: Pages,
    pub(crate) relays: Places<Relay>,
    /// Whose turn it is.
    next: u32,
    /// Whether the caller has said who it is.
    pub(crate) is_welcome: bool,
}

/// What has come of a frame so far.
pub(crate) struct Incoming {
    pub(crate) header: [u8; HEADER],
    pub(crate) header_length: usize,
    /// The frame, and how much of its payload is still to come.
    pub(crate) frame: Option<(Header, usize)>,
    /// Its payload, unless that is passed on as it comes.
    pub(crate) message: List<u8>,
    /// Words of the next command, and the channel of that.
    pub(crate) words: List<u8>,
    pub(crate) words_of: u32,
    /// What came while requests had to wait.
    pub(crate) backlog: List<u8>,
}

/// A frame with what a command has written, while it is being sent: nothing else may
/// come between.
#[derive(Clone, Copy)]
struct Payload {
    header: [u8; HEADER],
    header_sent: usize,
    /// How much is still to be sent.
    left: usize,
    /// How much lies in the buffer, at the end of it still to be sent. Otherwise it is in
    /// the pipe that it goes through.
    copied: Option<usize>,
}

/// A pipe that holds what has been taken out of a command's pipe and not been sent: there
/// something else might take it.
struct Through {
    reader: Fd,
    writer: Fd,
}

impl Through {
    fn new() -> Result<Self> {
        let (reader, writer) = sys::pipe()?;
        // One that is not granted takes less at a time.
        let _ = sys::fcntl(&writer, sys::F_SETPIPE_SZ, PIPE);
        Ok(Self { reader, writer })
    }
}

impl Wire {
    pub(crate) fn new(input: Fd, output: Fd) -> Result<Self> {
        Ok(Self {
            input,
            output,
            incoming: Incoming {
                header: [0; HEADER],
                header_length: 0,
                frame: None,
                message: List::new()?,
                words: List::new()?,
                words_of: 0,
                backlog: List::new()?,
            },
            queue: List::new()?,
            sent: 0,
            payload: None,
            is_writable: true,
            has_more: false,
            through: Through::new().ok(),
            buffer: Pages::new(MAX_PAYLOAD)?,
            relays: Places::new()?,
            next: 0,
            is_welcome: false,
        })
    }

    pub(crate) fn input(&self) -> &Fd {
        &self.input
    }

    pub(crate) fn output(&self) -> &Fd {
        &self.output
    }

    pub(crate) fn note_writable(&mut self) {
        self.is_writable = true;
    }

    /// Whether there is more to send than one turn's.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more && self.is_writable
    }

    /// Whether so much waits to be sent that no more should be asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() - self.sent > QUEUED
    }

    /// Sends a message, when its turn comes.
    pub(crate) fn say(&mut self, channel: u32, reply: Reply) -> Result<()> {
        let mut written = Written::new();
        reply.encode(&mut written);
        let bytes = written.bytes();
        self.put(channel, Kind::Message, bytes)
    }

    pub(crate) fn put(&mut self, channel: u32, kind: Kind, payload: &[u8]) -> Result<()> {
        let length = payload.len() as u32;
        let header = Header {
            channel,
            kind,
            length,
        };
        if self.sent > self.queue.len() / 2 {
            self.queue.drop_first(self.sent);
            self.sent = 0;
        }
        self.queue.extend(&header.encode())?;
        self.queue.extend(payload)
    }

    pub(crate) fn find(&self, channel: u32) -> Option<Key> {
        self.relays.find(|relay| relay.channel == channel)
    }

    /// Sends what has been said, however long it takes.
    pub(crate) fn finish_sending(&mut self) {
        let _ = sys::fcntl(&self.output, sys::F_SETFL, 0);
        if self.copy_payload().is_err() {
            return;
        }
        while self.payload.is_some() || self.sent < self.queue.len() {
            if self.send().is_err() {
                return;
            }
        }
    }

    /// Changes the size of the terminal on a channel.
    pub(crate) fn resize(&mut self, channel: u32, rows: u16, columns: u16) {
        let relay = self.find(channel).and_then(|key| self.relays.get(key));
        if let Some(terminal) = relay.and_then(|relay| relay.sink.terminal()) {
            let _ = terminal::resize(terminal, rows, columns);
        }
    }

    /// The command on a channel has ended: tells when all has been sent that it wrote.
    pub(crate) fn note_end(&mut self, channel: u32) {
        let Some(key) = self.find(channel) else {
            return;
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let Some(source) = self.source(key, stream) else {
                continue;
            };
            if source.fd.is_none() {
                continue;
            }
            let rest = source.available();
            source.rest = Some(rest);
            source.is_ready = true;
            if rest == 0 {
                let _ = self.put(channel, Kind::Drained(stream), &[]);
            }
        }
    }

    /// Grants what the sink of a relay has passed on, and says where it has been closed.
    pub(crate) fn tell_sink(&mut self, key: Key, was_open: bool) {
        let Some(relay) = self.relays.get(key) else {
            return;
        };
        let channel = relay.channel;
        if let Some(granted) = relay.sink.grant() {
            let _ = self.put(channel, Kind::Credit(Stream::Stdin), &granted.to_le_bytes());
        } else if was_open && !relay.sink.is_open() {
            let _ = self.put(channel, Kind::Close(Stream::Stdin), &[]);
        }
    }

    /// Sends what there is, as far as it goes.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.has_more = false;
        for _ in 0..FRAMES {
            let sent = if let Some(payload) = self.payload {
                self.send_payload(payload)
            } else if self.sent < self.queue.len() {
                self.send_queue()
            } else if self.begin_frame()? {
                Ok(())
            } else {
                return Ok(());
            };
            match sent {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.is_writable = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.has_more = true;
        Ok(())
    }

    fn send_queue(&mut self) -> Result<()> {
        self.sent += sys::write(&self.output, &self.queue[self.sent..])?;
        if self.sent == self.queue.len() {
            self.queue.clear();
            self.sent = 0;
        }
        Ok(())
    }

    fn send_payload(&mut self, mut payload: Payload) -> Result<()> {
        if payload.header_sent < HEADER {
            let header = &payload.header[payload.header_sent..];
            payload.header_sent += sys::write(&self.output, header)?;
            self.payload = Some(payload);
            return Ok(());
        }
        let moved = match (payload.copied, &self.through) {
            (None, Some(through)) => match sys::splice(&through.reader, &self.output, payload.left)
            {
                // The output is neither a pipe nor a socket.
                Err(Errno::INVAL) => return self.copy_payload(),
                moved => moved?,
            },
            (copied, _) => {
                let end = copied.ok_or(Errno::PIPE)?;
                let bytes = &self.buffer.bytes()[end - payload.left..end];
                sys::write(&self.output, bytes)?
            }
        };
        payload.left -= moved;
        self.payload = (payload.left > 0).then_some(payload);
        Ok(())
    }

    /// From now on bytes are copied; those that are under way, too.
    fn copy_payload(&mut self) -> Result<()> {
        let Some(through) = self.through.take() else {
            return Ok(());
        };
        let Some(payload) = self.payload.as_mut().filter(|it| it.copied.is_none()) else {
            return Ok(());
        };
        let mut read = 0;
        while read < payload.left {
            let room = &mut self.buffer.bytes_mut()[read..payload.left];
            read += sys::read(&through.reader, room)?;
        }
        payload.copied = Some(read);
        Ok(())
    }

    fn source(&mut self, key: Key, stream: Stream) -> Option<&mut Source> {
        self.relays.get(key)?.source(stream)
    }

    /// Begins a frame with what the next command has written; whether there was anything
    /// to do.
    fn begin_frame(&mut self) -> Result<bool> {
        let is_due = |relay: &Relay| relay.sources.iter().any(Source::is_due);
        let key = self.relays.find_from(self.next, is_due);
        let Some(key) = key.or_else(|| self.relays.find(is_due)) else {
            return Ok(false);
        };
        // After one that begins with its standard output, its standard error has its turn.
        let streams = [Stream::Stdout, Stream::Stderr];
        let due = |wire: &mut Self, stream| wire.source(key, stream).is_some_and(|it| it.is_due());
        let first = usize::from(self.next == key.index && due(self, Stream::Stderr));
        let stream = if due(self, streams[first]) {
            streams[first]
        } else {
            streams[1 - first]
        };
        let is_other_due = stream == Stream::Stdout && due(self, Stream::Stderr);
        self.next = if is_other_due {
            key.index
        } else {
            key.index + 1
        };
        self.begin_frame_of(key, stream)?;
        Ok(true)
    }

    fn begin_frame_of(&mut self, key: Key, stream: Stream) -> Result<()> {
        let Some(relay) = self.relays.get(key) else {
            return Ok(());
        };
        let channel = relay.channel;
        let Some(source) = relay.source(stream) else {
            return Ok(());
        };
        let Some(fd) = &source.fd else {
            return Ok(());
        };
        let most = (source.credit as usize).min(MAX_PAYLOAD);
        let through = self.through.as_ref().filter(|_| !source.is_terminal);
        let found = match through {
            Some(through) => sys::splice(fd, &through.writer, most),
            None => sys::read(fd, &mut self.buffer.bytes_mut()[..most]),
        };
        match found {
            Ok(left @ 1..) => {
                let length = left as u32;
                let copied = through.is_none().then_some(left);
                let is_drained = source.note_sent(length);
                let header = Header {
                    channel,
                    kind: Kind::Data(stream),
                    length,
                };
                self.payload = Some(Payload {
                    header: header.encode(),
                    header_sent: 0,
                    left,
                    copied,
                });
                if is_drained {
                    self.put(channel, Kind::Drained(stream), &[])?;
                }
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(Errno::AGAIN) => {
                source.is_ready = false;
                if source.note_empty() {
                    self.put(channel, Kind::Drained(stream), &[])?;
                }
                Ok(())
            }
            // The end; of a terminal, when nothing has it open any more.
            Ok(_) | Err(_) => {
                source.fd = None;
                self.put(channel, Kind::End(stream), &[])
            }
        }
    }
}
