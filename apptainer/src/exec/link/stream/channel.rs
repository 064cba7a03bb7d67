//! One command on a link: what has been said of it, and what it has written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{io, mem};

use apptainer_sys::process::WindowSize;
use bytes::BytesMut;
use tokio::sync::Notify;

use super::channels::Channels;
use super::inflow::{End, Inflow};
use crate::exec::link::LinkError;
use crate::exec::link::control::{Outcome, Started};
use crate::exec::link::frame::{Kind, Stream, WINDOW};
use crate::exec::link::protocol::{Malformed, Reply, Request};
use crate::exec::link::watcher::Watcher;

/// One command on a link over a stream. Dropped, it hangs up.
#[derive(Debug)]
pub(crate) struct Channel {
    number: u32,
    channels: Arc<Channels>,
    state: Mutex<State>,
    /// There is something new about the command itself.
    told: Notify,
}

#[derive(Debug)]
struct State {
    /// The command's number and pid.
    started: Option<(u64, u32)>,
    outcome: Option<Outcome>,
    /// Whether it has been said that it is to end, and that it is to be killed.
    is_to_end: bool,
    is_to_be_killed: bool,
    /// Is told of the outcome.
    watcher: Watcher,
    input: Outflow,
    outputs: [Inflow; 2],
}

/// What may be sent to a command.
#[derive(Debug)]
struct Outflow {
    credit: u32,
    is_closed: bool,
    watcher: Watcher,
}

impl Outflow {
    /// Nobody reads it any more.
    fn close(&mut self) {
        self.is_closed = true;
        self.watcher.note();
    }
}

impl Channel {
    pub(super) fn new(number: u32, channels: Arc<Channels>, is_carried: [bool; 3]) -> Self {
        let [has_input, stdout, stderr] = is_carried;
        let state = State {
            started: None,
            outcome: None,
            is_to_end: false,
            is_to_be_killed: false,
            watcher: Watcher::default(),
            input: Outflow {
                credit: WINDOW,
                is_closed: !has_input,
                watcher: Watcher::default(),
            },
            outputs: [Inflow::new(stdout), Inflow::new(stderr)],
        };
        Self {
            number,
            channels,
            state: Mutex::new(state),
            told: Notify::new(),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whom that concerns.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let [stdout, stderr] = &mut state.outputs;
        let (stdout, stderr) = (stdout.watcher.take(), stderr.watcher.take());
        let wakers = [
            state.watcher.take(),
            state.input.watcher.take(),
            stdout,
            stderr,
        ];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        changed
    }

    /// Says something to the agent. It comes to nothing where nobody is there any more.
    pub(in crate::exec::link) fn say(&self, request: &Request<'_>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(16);
        request.encode(&mut bytes);
        let outbox = &self.channels.outbox;
        // Ends come through however much waits, being so few.
        let is_first_end = match request {
            Request::Terminate => !mem::replace(&mut self.state().is_to_end, true),
            Request::Kill if mem::replace(&mut self.state().is_to_be_killed, true) => return Ok(()),
            Request::Kill | Request::Release => true,
            _ => false,
        };
        if is_first_end {
            outbox.put(self.number, Kind::Message, &bytes);
            return Ok(());
        }
        outbox.try_put(self.number, Kind::Message, &bytes)
    }

    /// Changes the size of its terminal.
    pub(crate) fn resize(&self, size: WindowSize) -> io::Result<()> {
        self.say(&Request::Resize(size.rows, size.columns))
    }

    /// Waits until it runs, or never will. Cancel-safe.
    pub(in crate::exec::link) async fn started(&self) -> Result<Started, Outcome> {
        self.until(|state| match (state.started, state.outcome) {
            (Some((id, pid)), _) => Some(Ok(Started {
                id,
                pid,
                terminal: None,
            })),
            (None, Some(outcome)) => Some(Err(outcome)),
            (None, None) => None,
        })
        .await
    }

    /// Waits for its end. Cancel-safe.
    pub(in crate::exec::link) async fn outcome(&self) -> Outcome {
        self.until(|state| state.outcome).await
    }

    /// What became of it, if that has been told.
    pub(in crate::exec::link) fn try_outcome(&self) -> Option<Outcome> {
        self.state().outcome
    }

    async fn until<T>(&self, enough: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let told = self.told.notified();
            if let Some(answer) = enough(&self.state()) {
                return answer;
            }
            told.await;
        }
    }

    /// Tells when it has ended. For one task at a time.
    pub(in crate::exec::link) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.outcome.is_some() {
            return Poll::Ready(());
        }
        state.watcher.watch(context);
        Poll::Pending
    }

    /// Takes in a frame.
    pub(super) fn take(&self, kind: Kind, payload: BytesMut) -> Result<(), Malformed> {
        match kind {
            Kind::Message => self.hear(Reply::decode(&payload)?),
            Kind::Data(stream) => self.output(stream, |output| output.push(payload)),
            Kind::End(stream) => self.output(stream, Inflow::finish),
            Kind::Drained(stream) => self.output(stream, Inflow::note_drained),
            Kind::Credit(Stream::Stdin) => {
                let granted = payload.first_chunk().ok_or(Malformed)?;
                self.note_credit(u32::from_le_bytes(*granted))
            }
            Kind::Close(Stream::Stdin) => {
                self.change(|state| state.input.close());
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    fn hear(&self, reply: Reply) -> Result<(), Malformed> {
        self.change(|state| {
            if state.outcome.is_some() {
                return Err(Malformed);
            }
            let Reply::Started { id, pid } = reply else {
                state.settle(Outcome::of(reply).ok_or(Malformed)?);
                return Ok(());
            };
            match state.started.replace((id, pid)) {
                Some(_) => Err(Malformed),
                None => Ok(()),
            }
        })?;
        self.told.notify_waiters();
        Ok(())
    }

    fn note_credit(&self, granted: u32) -> Result<(), Malformed> {
        self.change(|state| {
            let input = &mut state.input;
            let credit = input.credit.checked_add(granted);
            input.credit = credit.filter(|credit| *credit <= WINDOW).ok_or(Malformed)?;
            input.watcher.note();
            Ok(())
        })
    }

    fn output(
        &self,
        stream: Stream,
        act: impl FnOnce(&mut Inflow) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.change(|state| {
            // What was never started has streams all the same, for the agent.
            if matches!(state.outcome, Some(Outcome::Failed(_))) {
                return Ok(());
            }
            match stream {
                Stream::Stdin => Err(Malformed),
                Stream::Stdout => act(&mut state.outputs[0]),
                Stream::Stderr => act(&mut state.outputs[1]),
            }
        })
    }

    /// The link is no more.
    pub(super) fn lose(&self) {
        self.change(|state| {
            if state.outcome.is_none() {
                state.settle(Outcome::Lost);
            }
            state.input.close();
            for output in &mut state.outputs {
                output.end(End::Lost);
            }
        });
        self.told.notify_waiters();
    }

    /// Sends bytes to the command: how many.
    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let input = &mut state.input;
        if input.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // Fits, as it is no more than there is credit for.
        let length = u32::try_from(bytes.len())
            .unwrap_or(u32::MAX)
            .min(input.credit);
        if length == 0 && !bytes.is_empty() {
            input.watcher.watch(context);
            return Poll::Pending;
        }
        let bytes = &bytes[..length as usize];
        let sent = self.channels.outbox.poll_fill(context, |queue| {
            queue.put_all(self.number, Kind::Data(Stream::Stdin), bytes);
        });
        sent.map(|()| {
            input.credit -= length;
            Ok(bytes.len())
        })
    }

    /// Nothing more is sent to the command.
    pub(super) fn end_input(&self) {
        let mut state = self.state();
        if !mem::replace(&mut state.input.is_closed, true) {
            let kind = Kind::End(Stream::Stdin);
            self.channels.outbox.put(self.number, kind, &[]);
        }
    }

    /// Takes of what the command wrote by `take`; waits where that finds nothing. `None`
    /// at the end.
    pub(super) fn poll_take<T>(
        &self,
        stream: Stream,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut Inflow) -> Option<T>,
    ) -> Poll<io::Result<Option<T>>> {
        let state = &mut *self.state();
        let output = &mut state.outputs[usize::from(stream == Stream::Stderr)];
        if let Some(taken) = take(output) {
            if let Some(granted) = output.grant() {
                let outbox = &self.channels.outbox;
                outbox.put(self.number, Kind::Credit(stream), &granted.to_le_bytes());
            }
            return Poll::Ready(Ok(Some(taken)));
        }
        match output.why_ended() {
            Some(End::Complete) => Poll::Ready(Ok(None)),
            Some(End::Lost) => {
                let error = self
                    .channels
                    .loss()
                    .map_or(LinkError::Lost, LinkError::from);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)))
            }
            None => {
                output.watcher.watch(context);
                Poll::Pending
            }
        }
    }

    /// Whether all has been taken of an output that the command wrote before it ended.
    pub(super) fn is_drained(&self, stream: Stream) -> bool {
        self.state().outputs[usize::from(stream == Stream::Stderr)].is_drained()
    }

    /// Nobody reads this output any more.
    pub(super) fn close_output(&self, stream: Stream) {
        let state = &mut *self.state();
        let output = &mut state.outputs[usize::from(stream == Stream::Stderr)];
        if output.close() {
            self.channels
                .outbox
                .put(self.number, Kind::Close(stream), &[]);
        }
    }
}

impl State {
    /// Takes note of the outcome. What was never started has no streams, for its caller.
    fn settle(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.watcher.note();
        if matches!(outcome, Outcome::Failed(_)) {
            self.input.close();
            for output in &mut self.outputs {
                output.end(End::Complete);
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channels.forget(self.number);
        self.channels.outbox.put(self.number, Kind::HangUp, &[]);
    }
}
