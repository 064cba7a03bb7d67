//! What comes over the stream transport, frame by frame.

use crate::agent::{Agent, Topic};
use crate::caller::Caller;
use crate::frame::{HEADER, Header, Kind, Stream};
use crate::link::SHORT;
use crate::pages::Pages;
use crate::places::Key;
use crate::protocol::{MAX_WORDS, Reply, Request, Stage};
use crate::relay::Relay;
use crate::spawn::Origin;
use crate::sys::{self, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, Errno, Fd, Result};
use crate::wire::{PIPE, Wire};

/// How much of the input is read at once, and how many times in a turn.
const READ: usize = 16 * 1024;
const READS: usize = 8;

/// What became of a frame.
enum Done {
    Yes,
    /// It waits for a slot.
    NotYet,
}

/// What became of some bytes.
enum Taken {
    All,
    /// A frame waits for a slot, and so many bytes are behind it.
    Waits(usize),
}

impl Agent {
    /// Carries frames between these.
    pub(crate) fn carry_frames(&mut self, input: Fd, output: Fd) -> Result<()> {
        for pipe in [&input, &output] {
            enlarge(pipe);
        }
        let wire = Wire::new(input, output)?;
        // Files are always ready, and cannot be watched; nobody uses them for this.
        self.watch(wire.input(), Topic::Input)?;
        self.watch_for(wire.output(), Topic::Output, EPOLLOUT | EPOLLET)?;
        self.wire = Some(wire);
        Ok(())
    }

    /// Sends what there is to send.
    pub(crate) fn carry(&mut self) {
        if self.wire.as_mut().is_some_and(|wire| wire.send().is_err()) {
            self.cut();
        }
    }

    pub(crate) fn note_output(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.note_writable();
        }
    }

    /// The other end is gone, and with it whoever held the commands.
    fn cut(&mut self) {
        self.wire = None;
        for command in self.commands.iter_mut() {
            if matches!(command.caller, Some(Caller::Channel(_))) {
                command.caller = None;
                command.doom();
                self.has_doomed = true;
            }
        }
    }

    /// Something has come over the stream, or it has ended.
    pub(crate) fn note_input(&mut self, events: u32) {
        if !self.is_starved {
            self.hear_wire();
        } else if events & EPOLLHUP != 0 {
            // What it still asked for would be killed at once.
            self.cut();
        }
    }

    fn hear_wire(&mut self) {
        let mut buffer = [0; READ];
        for _ in 0..READS {
            let Some(wire) = &self.wire else {
                return;
            };
            if wire.is_full() {
                return self.pause();
            }
            let length = match sys::read(wire.input(), &mut buffer) {
                Ok(length @ 1..) => length,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(_) | Err(_) => return self.cut(),
            };
            match self.take_in(&buffer[..length]) {
                Ok(Taken::All) => {}
                Ok(Taken::Waits(left)) => return self.put_off(&buffer[length - left..length]),
                Err(_) => return self.cut(),
            }
        }
    }

    /// Keeps what came for when there is a slot.
    fn put_off(&mut self, bytes: &[u8]) {
        let kept = match &mut self.wire {
            Some(wire) => wire.incoming.backlog.extend(bytes),
            None => Ok(()),
        };
        match kept {
            Ok(()) => self.pause(),
            Err(_) => self.cut(),
        }
    }

    /// Goes on with what was kept; whether nothing of it is left.
    pub(crate) fn catch_up(&mut self) -> bool {
        let Some(wire) = &mut self.wire else {
            return true;
        };
        if wire.is_full() {
            return false;
        }
        let mut buffer = [0; READ];
        let backlog = &mut wire.incoming.backlog;
        let Some(bytes) = buffer.get_mut(..backlog.len()) else {
            self.cut();
            return true;
        };
        bytes.copy_from_slice(backlog);
        backlog.clear();
        match self.take_in(bytes) {
            Ok(Taken::All) => true,
            Ok(Taken::Waits(left)) => {
                let kept = bytes.len() - left;
                if let Some(wire) = &mut self.wire {
                    let _ = wire.incoming.backlog.extend(&bytes[kept..]);
                }
                false
            }
            Err(_) => {
                self.cut();
                true
            }
        }
    }

    /// Takes in bytes of frames.
    fn take_in(&mut self, mut bytes: &[u8]) -> Result<Taken> {
        loop {
            let Some(wire) = &mut self.wire else {
                return Ok(Taken::All);
            };
            let incoming = &mut wire.incoming;
            let Some((header, left)) = &mut incoming.frame else {
                if bytes.is_empty() {
                    return Ok(Taken::All);
                }
                let missing = HEADER - incoming.header_length;
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                let end = incoming.header_length + part.len();
                incoming.header[incoming.header_length..end].copy_from_slice(part);
                incoming.header_length = end;
                bytes = rest;
                if end == HEADER {
                    incoming.header_length = 0;
                    let header = Header::decode(&incoming.header).map_err(|_| Errno::INVAL)?;
                    incoming.message.clear();
                    incoming.frame = Some((header, header.length as usize));
                }
                continue;
            };
            let header = *header;
            if *left > 0 {
                if bytes.is_empty() {
                    return Ok(Taken::All);
                }
                let (part, rest) = bytes.split_at((*left).min(bytes.len()));
                *left -= part.len();
                bytes = rest;
                match header.kind {
                    Kind::Data(_) => self.feed(header, part)?,
                    _ => incoming.message.extend(part)?,
                }
                continue;
            }
            match self.finish(header)? {
                Done::Yes => {
                    if let Some(wire) = &mut self.wire {
                        wire.incoming.frame = None;
                    }
                }
                Done::NotYet => return Ok(Taken::Waits(bytes.len())),
            }
        }
    }

    /// Passes on bytes of a standard input.
    fn feed(&mut self, header: Header, bytes: &[u8]) -> Result<()> {
        if header.kind != Kind::Data(Stream::Stdin) {
            return Err(Errno::INVAL);
        }
        self.with_sink(header.channel, |relay| match relay.sink.take(bytes) {
            // More than there was credit for.
            Err(Errno::INVAL) => Err(Errno::INVAL),
            Err(_) => {
                relay.sink.close();
                Ok(())
            }
            Ok(()) => Ok(()),
        })
    }

    /// Does something with a relay, and tells what became of its sink.
    fn with_sink(
        &mut self,
        channel: u32,
        act: impl FnOnce(&mut Relay) -> Result<()>,
    ) -> Result<()> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        let Some(key) = wire.find(channel) else {
            return Ok(());
        };
        if let Some(relay) = wire.relays.get(key) {
            let was_open = relay.sink.is_open();
            act(relay)?;
            wire.tell_sink(key, was_open);
        }
        Ok(())
    }

    /// A frame is complete.
    fn finish(&mut self, header: Header) -> Result<Done> {
        let channel = header.channel;
        match header.kind {
            Kind::Message if channel == 0 => self.finish_message()?,
            Kind::Message => return self.finish_request(channel),
            Kind::Words => self.finish_words(channel)?,
            Kind::End(Stream::Stdin) => {
                let end = |relay: &mut Relay| {
                    if relay.sink.end().is_err() {
                        relay.sink.close();
                    }
                    Ok(())
                };
                self.with_sink(channel, end)?;
            }
            Kind::Credit(stream) => self.finish_credit(channel, stream),
            Kind::Close(stream) => self.finish_close(channel, stream),
            Kind::HangUp => {
                if let Some(wire) = &mut self.wire
                    && let Some(key) = wire.find(channel)
                {
                    wire.relays.remove(key);
                }
                if let Some(key) = self.command_on(channel) {
                    self.hang_up(key, true);
                }
            }
            Kind::Data(_) => {}
            Kind::End(_) | Kind::Drained(_) => return Err(Errno::INVAL),
        }
        Ok(Done::Yes)
    }

    fn command_on(&self, channel: u32) -> Option<Key> {
        self.commands.find(
            |command| matches!(command.caller, Some(Caller::Channel(other)) if other == channel),
        )
    }

    /// What is said on the link itself.
    fn finish_message(&mut self) -> Result<()> {
        let mut message = [0; SHORT];
        let request = self.short_request(&mut message);
        let reply = request.and_then(|request| self.answer(request));
        if let (Some(wire), Some(reply)) = (&mut self.wire, reply) {
            wire.is_welcome |= matches!(reply, Reply::Welcome(_));
            wire.say(0, reply)?;
            if reply == Reply::Farewell {
                // Nothing else will be done, so it may be waited for.
                wire.finish_sending();
                sys::exit(0)
            }
        }
        Ok(())
    }

    /// What is said on a command's channel.
    fn finish_request(&mut self, channel: u32) -> Result<Done> {
        if let Some(request) = self.short_request(&mut [0; SHORT]) {
            if let Some(key) = self.command_on(channel) {
                self.obey(key, request);
            }
            return Ok(Done::Yes);
        }
        let Some(ticket) = self.slots.take() else {
            return Ok(Done::NotYet);
        };
        let Some(wire) = &mut self.wire else {
            self.slots.give_back(ticket);
            return Ok(Done::Yes);
        };
        let slot = self.slots.slot(ticket);
        // SAFETY: the slot has just been taken, so that nobody else uses its buffer, and
        // what refers to that is gone before it is given back.
        let buffer: &'static mut [u8] = unsafe { &mut *slot.message.get() };
        let message = &mut buffer[..wire.incoming.message.len()];
        message.copy_from_slice(&wire.incoming.message);
        let Ok(Request::Spawn(spawn)) = Request::decode(message) else {
            self.slots.give_back(ticket);
            let caller = Caller::Channel(channel);
            if self.command_on(channel).is_none() {
                caller.tell_failure(&mut self.wire, Stage::Request, Errno::INVAL);
            }
            return Ok(Done::Yes);
        };
        let words = if wire.incoming.words_of == channel {
            wire.incoming.words_of = 0;
            let words = Pages::holding(&wire.incoming.words)?;
            Some((words, wire.incoming.words.len()))
        } else {
            None
        };
        let is_welcome = wire.is_welcome;
        let origin = Origin::of_channel(channel, words, is_welcome);
        self.spawn(ticket, &spawn, origin);
        Ok(Done::Yes)
    }

    /// What is said, if that is anything but a command to start.
    fn short_request<'m>(&self, message: &'m mut [u8; SHORT]) -> Option<Request<'m>> {
        let said = &self.wire.as_ref()?.incoming.message;
        let message = message.get_mut(..said.len())?;
        message.copy_from_slice(said);
        let request = Request::decode(message).ok()?;
        Some(request).filter(|request| !matches!(request, Request::Spawn(_)))
    }

    fn finish_words(&mut self, channel: u32) -> Result<()> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        let incoming = &mut wire.incoming;
        if incoming.words_of != channel {
            incoming.words.clear();
            incoming.words_of = channel;
        }
        if incoming.words.len() + incoming.message.len() > MAX_WORDS {
            return Err(Errno::INVAL);
        }
        incoming.words.extend(&incoming.message)
    }

    fn finish_credit(&mut self, channel: u32, stream: Stream) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let granted = wire.incoming.message.first_chunk().copied();
        let granted = u32::from_le_bytes(granted.unwrap_or_default());
        let key = wire.find(channel);
        let relay = key.and_then(|key| wire.relays.get(key));
        if let Some(source) = relay.and_then(|relay| relay.source(stream)) {
            source.credit = source.credit.saturating_add(granted);
            // It may have become ready while it could not be sent.
            source.is_ready = true;
        }
    }

    fn finish_close(&mut self, channel: u32, stream: Stream) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let key = wire.find(channel);
        let Some(relay) = key.and_then(|key| wire.relays.get(key)) else {
            return;
        };
        if let Some(source) = relay.source(stream) {
            source.fd = None;
            // A terminal is hung up by closing it for both directions.
            if source.is_terminal {
                relay.sink.close();
            }
        }
    }

    /// Something has changed with a stream that frames carry.
    pub(crate) fn note_carried(&mut self, key: Key, stream: u8, events: u32) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let Some(relay) = wire.relays.get(key) else {
            return;
        };
        if let Some(source) = usize::from(stream).checked_sub(1) {
            let source = &mut relay.sources[source];
            source.is_ready = true;
            // A terminal is one descriptor for both directions.
            if events & EPOLLOUT == 0 || !source.is_terminal {
                return;
            }
        }
        let was_open = relay.sink.is_open();
        let is_broken = events & EPOLLERR != 0 && stream == 0;
        if is_broken || relay.sink.flush().is_err() {
            relay.sink.close();
        }
        wire.tell_sink(key, was_open);
    }

    /// Has the streams of a new command carried.
    pub(crate) fn relay(&mut self, relay: Relay) -> Result<()> {
        let Some(wire) = &mut self.wire else {
            return Err(Errno::PIPE);
        };
        let key = wire.relays.insert(relay)?;
        let Some(wire) = &self.wire else {
            return Err(Errno::PIPE);
        };
        let Some(relay) = wire.relays.at(key) else {
            return Err(Errno::PIPE);
        };
        for (source, stream) in relay.sources.iter().zip(1..) {
            if let Some(fd) = &source.fd {
                let out = if source.is_terminal { EPOLLOUT } else { 0 };
                let topic = Topic::Carried(key, stream);
                self.watch_for(fd, topic, EPOLLIN | out | EPOLLET)?;
            }
        }
        if let Some(fd) = relay.sink.pipe() {
            self.watch_for(fd, Topic::Carried(key, 0), EPOLLOUT | EPOLLET)?;
        }
        Ok(())
    }

    /// Gives up a relay whose command could not be started.
    pub(crate) fn give_up_relay(&mut self, channel: u32) {
        if let Some(wire) = &mut self.wire
            && let Some(key) = wire.find(channel)
        {
            wire.relays.remove(key);
        }
    }
}

/// Gives a pipe more room. What is no pipe, or has more, or may not have it, stays as it is.
fn enlarge(pipe: &Fd) {
    if sys::fcntl(pipe, sys::F_GETPIPE_SZ, 0).is_ok_and(|size| size < PIPE) {
        let _ = sys::fcntl(pipe, sys::F_SETPIPE_SZ, PIPE);
    }
}
