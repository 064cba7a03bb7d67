//! A link over a stream, as commands use it.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::channel::Channel;
use super::channels::{Channels, Loss};
use crate::exec::ExecError;
use crate::exec::link::frame::Kind;
use crate::exec::link::protocol::Request;
use crate::exec::link::request::Message;
use crate::exec::link::{LinkError, StartError, StartStage};

/// An agent at the other end of a stream. Dropped, it ends that, and with it the agent and
/// what it has started.
#[derive(Debug)]
pub(crate) struct Mux {
    channels: Arc<Channels>,
    /// Those that read and write.
    tasks: [AbortHandle; 2],
}

impl Mux {
    pub(super) fn new(channels: Arc<Channels>, tasks: [AbortHandle; 2]) -> Self {
        Self { channels, tasks }
    }

    /// Why the link is no more, if it is not.
    pub(crate) fn loss(&self) -> Option<LinkError> {
        self.channels.loss().map(LinkError::from)
    }

    fn why_lost(&self) -> LinkError {
        self.loss().unwrap_or(LinkError::Lost)
    }

    /// Asks for a command, and waits until it has been asked for.
    ///
    /// Cancel-safe: it has been asked for and is held, or it has not.
    pub(in crate::exec::link) async fn open(
        &self,
        message: &Message,
        is_carried: [bool; 3],
    ) -> Result<Arc<Channel>, ExecError> {
        let channels = &self.channels;
        let opened = channels.outbox.fill_with(|queue| {
            let channel =
                channels.open(|number| Channel::new(number, Arc::clone(channels), is_carried))?;
            let number = channel.number();
            // Together, so that no other command's words come between.
            if let Some(words) = &message.words {
                queue.put_all(number, Kind::Words, words);
            }
            queue.put(number, Kind::Message, &message.bytes);
            Some(channel)
        });
        let opened = opened.await.ok_or_else(|| self.why_lost())?;
        let exhausted = StartError::on_host(StartStage::Request, nix::libc::EOVERFLOW);
        Ok(opened.ok_or(exhausted)?)
    }

    /// Says something to the agent itself.
    async fn say(&self, request: Request<'_>) -> Result<(), LinkError> {
        let mut bytes = Vec::with_capacity(16);
        request.encode(&mut bytes);
        let outbox = &self.channels.outbox;
        let said = outbox.fill_with(|queue| queue.put(0, Kind::Message, &bytes));
        said.await.ok_or_else(|| self.why_lost())
    }

    /// Whether the agent answers. Cancel-safe.
    pub(crate) async fn ping(&self) -> Result<(), LinkError> {
        let channels = &self.channels;
        let asked = channels.outbox.fill_with(|queue| {
            let number = channels.next_ping();
            let mut bytes = Vec::with_capacity(16);
            Request::Ping(number).encode(&mut bytes);
            queue.put(0, Kind::Message, &bytes);
            number
        });
        let number = asked.await.ok_or_else(|| self.why_lost())?;
        Ok(channels.ponged(number).await?)
    }

    /// Ends the agent, and all that it has started, and waits until they are gone.
    pub(crate) async fn close(&self) -> Result<(), LinkError> {
        // That it has ended already is what is wanted.
        if self.say(Request::Goodbye).await.is_ok() {
            self.channels.ended().await;
        }
        self.stop();
        match self.channels.loss() {
            Some(Loss::Malformed) => Err(LinkError::Malformed),
            _ => Ok(()),
        }
    }

    fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.stop();
    }
}
