//! A command's standard streams where frames carry them.

use crate::frame::{Stream, WINDOW};
use crate::pages::Pages;
use crate::sys::{self, Errno, Fd, Result};

/// The streams of the command on one channel.
pub(crate) struct Relay {
    pub(crate) channel: u32,
    /// Standard output and standard error, from the command.
    pub(crate) sources: [Source; 2],
    /// Standard input, to the command.
    pub(crate) sink: Sink,
}

impl Relay {
    pub(crate) fn source(&mut self, stream: Stream) -> Option<&mut Source> {
        match stream {
            Stream::Stdin => None,
            Stream::Stdout => Some(&mut self.sources[0]),
            Stream::Stderr => Some(&mut self.sources[1]),
        }
    }
}

/// What a command writes.
pub(crate) struct Source {
    pub(crate) fd: Option<Fd>,
    pub(crate) is_terminal: bool,
    /// How many more bytes may be sent.
    pub(crate) credit: u32,
    /// Whether there may be something to read.
    pub(crate) is_ready: bool,
    /// How many bytes were there when the command ended, and have not been sent.
    pub(crate) rest: Option<u32>,
}

impl Source {
    pub(crate) fn new(fd: Option<Fd>, is_terminal: bool) -> Self {
        Self {
            fd,
            is_terminal,
            credit: WINDOW,
            is_ready: false,
            rest: None,
        }
    }

    /// Whether it is worth a look.
    pub(crate) fn is_due(&self) -> bool {
        self.fd.is_some() && self.is_ready && self.credit > 0
    }

    /// How many bytes can be read now; for a terminal that is a guess.
    pub(crate) fn available(&self) -> u32 {
        self.fd
            .as_ref()
            .map_or(0, |fd| sys::available(fd).unwrap_or(0))
    }

    /// Takes note that so many bytes have been sent; whether those were the last that
    /// there were when the command ended.
    pub(crate) fn note_sent(&mut self, bytes: u32) -> bool {
        self.credit -= bytes.min(self.credit);
        let Some(rest) = &mut self.rest else {
            return false;
        };
        let was_left = *rest > 0;
        *rest = rest.saturating_sub(bytes);
        was_left && *rest == 0
    }

    /// Takes note that there is nothing; whether something else has taken the last of what there
    /// was when the command ended.
    pub(crate) fn note_empty(&mut self) -> bool {
        self.rest
            .as_mut()
            .is_some_and(|rest| core::mem::take(rest) > 0)
    }
}

/// What a command reads.
pub(crate) struct Sink {
    fd: Option<Fd>,
    is_terminal: bool,
    /// What has come and does not fit into the pipe yet: no more than there was credit for.
    held: Option<Pages>,
    first: usize,
    end: usize,
    /// Whether nothing more will come.
    is_ended: bool,
    /// How many bytes have been passed on, and not been granted anew.
    passed: u32,
}

impl Sink {
    pub(crate) fn new(fd: Option<Fd>, is_terminal: bool) -> Self {
        Self {
            fd,
            is_terminal,
            held: None,
            first: 0,
            end: 0,
            is_ended: false,
            passed: 0,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    pub(crate) fn terminal(&self) -> Option<&Fd> {
        self.fd.as_ref().filter(|_| self.is_terminal)
    }

    /// The descriptor, where it is one of its own.
    pub(crate) fn pipe(&self) -> Option<&Fd> {
        self.fd.as_ref().filter(|_| !self.is_terminal)
    }

    /// Passes bytes on, or keeps them. More than there was credit for is an error.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.first == self.end {
            let written = self.write(bytes)?;
            bytes = &bytes[written..];
        }
        if bytes.is_empty() || self.fd.is_none() {
            return Ok(());
        }
        let window = WINDOW as usize;
        let mut held = match self.held.take() {
            Some(held) => held,
            None => Pages::new(window)?,
        };
        let buffer = held.bytes_mut();
        if self.end + bytes.len() > window {
            buffer.copy_within(self.first..self.end, 0);
            self.end -= self.first;
            self.first = 0;
        }
        let room = buffer.get_mut(self.end..self.end + bytes.len());
        let room = room.filter(|_| self.end + bytes.len() <= window);
        room.ok_or(Errno::INVAL)?.copy_from_slice(bytes);
        self.end += bytes.len();
        self.held = Some(held);
        Ok(())
    }

    /// Passes on what it has kept.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while let Some(held) = self.held.take() {
            let written = self.write(&held.bytes()[self.first..self.end]);
            self.first += *written.as_ref().unwrap_or(&0);
            if self.first == self.end {
                (self.first, self.end) = (0, 0);
                break;
            }
            self.held = Some(held);
            if written? == 0 {
                return Ok(());
            }
        }
        if self.is_ended && self.held.is_none() && !self.is_terminal {
            self.fd = None;
        }
        Ok(())
    }

    /// Writes as much as goes in now.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(fd) = &self.fd else {
            return Ok(bytes.len());
        };
        match sys::write(fd, bytes) {
            Ok(written) => {
                self.passed += written as u32;
                Ok(written)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        self.is_ended = true;
        self.flush()
    }

    /// Nobody reads it any more.
    pub(crate) fn close(&mut self) {
        self.fd = None;
        self.held = None;
    }

    /// How many more bytes the caller may be granted, if that is worth saying.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        // Until then the caller has as much left, but for what is kept here.
        let is_worth_it = self.passed >= WINDOW / 2 && self.fd.is_some() && !self.is_ended;
        is_worth_it.then(|| core::mem::take(&mut self.passed))
    }
}
