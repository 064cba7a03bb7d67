//! What one command writes to one stream, until somebody takes it.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::exec::link::frame::WINDOW;
use crate::exec::link::protocol::Malformed;
use crate::exec::link::watcher::Watcher;

/// Payloads up to this are put together, so that many small ones take no more room than
/// they have bytes, about.
pub(super) const SMALL: usize = 4 * 1024;

/// The most that small ones are put together to.
const TOGETHER: usize = 16 * 1024;

/// Bytes that have come and have not been taken: no more than a window of them.
#[derive(Debug)]
pub(super) struct Inflow {
    chunks: VecDeque<BytesMut>,
    /// How many bytes that is.
    held: usize,
    /// How many more may come.
    credit: u32,
    /// How many have been taken, and not been granted anew.
    taken: u32,
    /// How many of those that are held the command wrote before it ended, once that is
    /// known: what comes after them is not its own.
    rest: Option<usize>,
    end: Option<End>,
    /// Whether nobody takes them any more.
    is_closed: bool,
    pub(super) watcher: Watcher,
}

/// Why no more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything has come.
    Complete,
    /// The link is lost, and with it what was under way.
    Lost,
}

impl Inflow {
    pub(super) fn new(is_piped: bool) -> Self {
        Self {
            chunks: VecDeque::new(),
            held: 0,
            credit: if is_piped { WINDOW } else { 0 },
            taken: 0,
            rest: None,
            end: (!is_piped).then_some(End::Complete),
            is_closed: false,
            watcher: Watcher::default(),
        }
    }

    /// Takes in what has come. More than there was credit for is malformed.
    pub(super) fn push(&mut self, bytes: BytesMut) -> Result<(), Malformed> {
        let length = u32::try_from(bytes.len()).map_err(|_| Malformed)?;
        self.credit = self.credit.checked_sub(length).ok_or(Malformed)?;
        if self.end.is_some() {
            return Err(Malformed);
        }
        if self.is_closed {
            return Ok(());
        }
        self.held += bytes.len();
        match self.chunks.back_mut() {
            Some(last) if bytes.len() <= SMALL && last.len() + bytes.len() <= TOGETHER => {
                last.extend_from_slice(&bytes);
            }
            // It may be a part of something larger, which is not to be kept for it.
            _ if bytes.len() <= SMALL => self.chunks.push_back(BytesMut::from(&bytes[..])),
            _ => self.chunks.push_back(bytes),
        }
        self.watcher.note();
        Ok(())
    }

    /// All that the command wrote before it ended has come.
    pub(super) fn note_drained(&mut self) -> Result<(), Malformed> {
        if self.rest.is_some() || self.end.is_some() {
            return Err(Malformed);
        }
        self.rest = Some(self.held);
        self.watcher.note();
        Ok(())
    }

    /// Everything has come.
    pub(super) fn finish(&mut self) -> Result<(), Malformed> {
        if self.end.is_some() {
            return Err(Malformed);
        }
        self.end(End::Complete);
        Ok(())
    }

    /// No more comes, if that was not known.
    pub(super) fn end(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.watcher.note();
        }
    }

    /// Nobody takes any more; whether that is news for the agent.
    pub(super) fn close(&mut self) -> bool {
        self.chunks.clear();
        self.held = 0;
        !std::mem::replace(&mut self.is_closed, true) && self.end.is_none()
    }

    /// Takes the first chunk, whole.
    pub(super) fn take(&mut self) -> Option<BytesMut> {
        let chunk = self.chunks.pop_front()?;
        self.note_taken(chunk.len());
        Some(chunk)
    }

    /// The first chunk, and how much has been taken of it is then to be [told](Self::consume).
    pub(super) fn first(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    pub(super) fn consume(&mut self, length: usize) {
        if let Some(chunk) = self.chunks.front_mut() {
            bytes::Buf::advance(chunk, length);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            self.note_taken(length);
        }
    }

    fn note_taken(&mut self, length: usize) {
        self.held -= length;
        self.taken += u32::try_from(length).unwrap_or(WINDOW);
        if let Some(rest) = &mut self.rest {
            *rest = rest.saturating_sub(length);
        }
    }

    /// How many more bytes the agent may be granted, if that is worth saying.
    pub(super) fn grant(&mut self) -> Option<u32> {
        let is_worth_it = self.taken >= WINDOW / 2 && self.end.is_none();
        is_worth_it.then(|| {
            self.credit += self.taken;
            std::mem::take(&mut self.taken)
        })
    }

    /// Why nothing more will be there, once what is held has been taken.
    pub(super) fn why_ended(&self) -> Option<End> {
        self.end
    }

    /// Whether all has been taken that the command wrote before it ended.
    pub(super) fn is_drained(&self) -> bool {
        self.held == 0 && self.end.is_some() || self.rest == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_payloads_take_few_chunks() {
        let mut inflow = Inflow::new(true);
        for _ in 0..WINDOW {
            inflow.push(BytesMut::from(&b"x"[..])).unwrap();
        }
        assert!(inflow.chunks.len() <= WINDOW as usize / TOGETHER + 1);
        let room: usize = inflow.chunks.iter().map(BytesMut::capacity).sum();
        assert!(room <= 2 * WINDOW as usize, "{room} bytes");
        assert_eq!(inflow.push(BytesMut::from(&b"x"[..])), Err(Malformed));
    }

    #[test]
    fn it_is_drained_when_what_came_before_the_mark_has_been_taken() {
        let mut inflow = Inflow::new(true);
        inflow.push(BytesMut::from(&b"own"[..])).unwrap();
        assert!(!inflow.is_drained());
        inflow.note_drained().unwrap();
        inflow.push(BytesMut::from(&b"other"[..])).unwrap();
        assert!(!inflow.is_drained());
        inflow.consume(2);
        assert!(!inflow.is_drained());
        inflow.consume(1);
        assert!(inflow.is_drained());
        assert_eq!(inflow.first(), b"other");
        inflow.finish().unwrap();
        assert_eq!(inflow.take().unwrap(), b"other"[..]);
        assert!(inflow.is_drained());
    }
}
