//! What is to be sent, and sending it.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::exec::link::frame::{Header, Kind, MAX_PAYLOAD};

/// How much may wait before what can wait does.
const ROOM: usize = 256 * 1024;

/// What is more than that by this is refused, though it is short.
const LIMIT: usize = 4 * ROOM;

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// For whoever sends them: there are some.
    filled: Notify,
    /// For tasks that wait for room.
    emptied: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Whether nothing is sent any more.
    is_closed: bool,
    /// Those that wait for room without being tasks of their own.
    wakers: Vec<Waker>,
}

impl Queue {
    pub(super) fn put(&mut self, channel: u32, kind: Kind, payload: &[u8]) {
        if self.is_closed {
            return;
        }
        let header = Header {
            channel,
            kind,
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        };
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
    }

    /// In as many frames as it takes.
    pub(super) fn put_all(&mut self, channel: u32, kind: Kind, bytes: &[u8]) {
        for part in bytes.chunks(MAX_PAYLOAD) {
            self.put(channel, kind, part);
        }
    }
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill<T>(&self, mut queue: MutexGuard<'_, Queue>, fill: impl FnOnce(&mut Queue) -> T) -> T {
        let was_empty = queue.bytes.is_empty();
        let filled = fill(&mut queue);
        let is_news = was_empty && !queue.bytes.is_empty();
        drop(queue);
        if is_news {
            self.filled.notify_one();
        }
        filled
    }

    /// Queues a frame, whether there is room or not: of these there are only so many.
    pub(super) fn put(&self, channel: u32, kind: Kind, payload: &[u8]) {
        self.fill(self.queue(), |queue| queue.put(channel, kind, payload));
    }

    /// Queues a frame, unless very many wait.
    pub(super) fn try_put(&self, channel: u32, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let queue = self.queue();
        if queue.bytes.len() > LIMIT {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.fill(queue, |queue| queue.put(channel, kind, payload));
        Ok(())
    }

    /// Has `fill` queue frames when there is room.
    pub(super) fn poll_fill<T>(
        &self,
        context: &mut Context<'_>,
        fill: impl FnOnce(&mut Queue) -> T,
    ) -> Poll<T> {
        let mut queue = self.queue();
        if queue.bytes.len() > ROOM {
            let waker = context.waker();
            if !queue.wakers.iter().any(|other| other.will_wake(waker)) {
                queue.wakers.push(waker.clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(self.fill(queue, fill))
    }

    /// The same, for tasks of which there may be many; `None` where nothing is sent any
    /// more. Cancel-safe: `fill` has been called, or it has not.
    pub(super) async fn fill_with<T>(&self, fill: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        loop {
            let emptied = self.emptied.notified();
            {
                let queue = self.queue();
                if queue.is_closed {
                    return None;
                }
                if queue.bytes.len() <= ROOM {
                    return Some(self.fill(queue, fill));
                }
            }
            emptied.await;
        }
    }

    /// Nothing is sent any more.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        queue.bytes = Vec::new();
        let wakers = std::mem::take(&mut queue.wakers);
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Swaps what waits for an empty buffer; whether it is still open.
    fn take(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        // One command may have had very many words.
        bytes.shrink_to(LIMIT);
        let mut queue = self.queue();
        std::mem::swap(&mut queue.bytes, bytes);
        let wakers = std::mem::take(&mut queue.wakers);
        let is_open = !queue.is_closed;
        drop(queue);
        if !bytes.is_empty() {
            self.emptied.notify_waiters();
        }
        wakers.into_iter().for_each(Waker::wake);
        is_open
    }

    /// Sends what is queued, until the outbox is closed or that fails.
    pub(super) async fn send(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut bytes = Vec::new();
        while self.take(&mut bytes) {
            if bytes.is_empty() {
                writer.flush().await?;
                self.filled.notified().await;
            } else {
                writer.write_all(&bytes).await?;
            }
        }
        Ok(())
    }
}
