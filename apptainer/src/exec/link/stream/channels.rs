//! The commands of a link, and what its agent says to them and to all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::BytesMut;
use tokio::sync::Notify;

use super::channel::Channel;
use super::frames::Broken;
use super::outbox::Outbox;
use crate::exec::link::LinkError;
use crate::exec::link::frame::Header;
use crate::exec::link::protocol::{Malformed, Reply};

/// What the two tasks of a link and all that use it share.
#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) outbox: Outbox,
    state: Mutex<State>,
    /// There is something new that is not said to a command.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u32, Weak<Channel>>,
    /// The number of the last one that was opened.
    last: u32,
    /// How many pings there were, and the number of the last that was answered.
    pings: u64,
    ponged: u64,
    end: Option<Loss>,
}

/// Why a link is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The agent has said goodbye, or the stream has ended.
    Ended,
    /// What came was no frame of an agent's.
    Malformed,
}

impl From<Loss> for LinkError {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Ended => Self::Lost,
            Loss::Malformed => Self::Malformed,
        }
    }
}

impl Channels {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.state().end
    }

    /// Opens one with the next number, made by `make`; `None` when all have been used.
    pub(super) fn open(&self, make: impl FnOnce(u32) -> Channel) -> Option<Arc<Channel>> {
        let mut state = self.state();
        let number = state.last.checked_add(1)?;
        state.last = number;
        let channel = Arc::new(make(number));
        if state.end.is_some() {
            drop(state);
            channel.lose();
            return Some(channel);
        }
        state.open.insert(number, Arc::downgrade(&channel));
        Some(channel)
    }

    /// Nobody holds it any more.
    pub(super) fn forget(&self, number: u32) {
        self.state().open.remove(&number);
    }

    /// The number of another ping.
    pub(super) fn next_ping(&self) -> u64 {
        let mut state = self.state();
        state.pings += 1;
        state.pings
    }

    /// Waits until this ping has been answered. Cancel-safe.
    pub(super) async fn ponged(&self, number: u64) -> Result<(), Loss> {
        self.until(|state| (state.ponged >= number).then_some(()))
            .await
    }

    /// Waits until the link is no more. Cancel-safe.
    pub(super) async fn ended(&self) -> Loss {
        match self.until(|_| None::<Loss>).await {
            Ok(loss) | Err(loss) => loss,
        }
    }

    async fn until<T>(&self, enough: impl Fn(&State) -> Option<T>) -> Result<T, Loss> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if let Some(answer) = enough(&state) {
                    return Ok(answer);
                }
                if let Some(loss) = state.end {
                    return Err(loss);
                }
            }
            changed.await;
        }
    }

    /// The link is no more, and its commands learn that. The first reason counts.
    pub(super) fn end(&self, loss: Loss) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        state.end = Some(loss);
        let open = std::mem::take(&mut state.open);
        drop(state);
        self.outbox.close();
        for channel in open.into_values().filter_map(|channel| channel.upgrade()) {
            channel.lose();
        }
        self.changed.notify_waiters();
    }

    /// Takes in a frame.
    pub(super) fn take(&self, header: Header, payload: BytesMut) -> Result<(), Broken> {
        if header.channel == 0 {
            return self.hear(Reply::decode(&payload)?);
        }
        let state = self.state();
        let channel = state.open.get(&header.channel).and_then(Weak::upgrade);
        let was_opened = header.channel <= state.last;
        drop(state);
        match channel {
            Some(channel) => Ok(channel.take(header.kind, payload)?),
            // It was on its way when the channel was closed.
            None if was_opened => Ok(()),
            None => Err(Broken::Malformed),
        }
    }

    /// What is said to nobody in particular.
    fn hear(&self, reply: Reply) -> Result<(), Broken> {
        match reply {
            Reply::Pong(number) => {
                let mut state = self.state();
                if number <= state.ponged || number > state.pings {
                    return Err(Malformed.into());
                }
                state.ponged = number;
                drop(state);
                self.changed.notify_waiters();
                Ok(())
            }
            Reply::Farewell => Err(Broken::Ended),
            _ => Err(Malformed.into()),
        }
    }
}

impl From<Broken> for Loss {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Malformed => Self::Malformed,
            Broken::Ended => Self::Ended,
            Broken::Io(error) => {
                tracing::debug!(%error, "the stream to an exec agent cannot be used any more");
                Self::Ended
            }
        }
    }
}
