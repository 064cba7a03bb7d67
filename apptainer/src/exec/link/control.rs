//! What is said about one command, between it and its caller.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use apptainer_sys::process::{Exit, ResourceUsage, Seqpacket, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::protocol::{self, End, Reply, Request};
use super::watcher::Watcher;
use crate::exec::StartError;

/// One command's connection to the agent that runs it.
///
/// As long as it is open, the agent knows that somebody holds the command.
#[derive(Debug)]
pub(crate) struct Control {
    socket: AsyncFd<Seqpacket>,
    told: Mutex<Told>,
    /// Something has been told. Of what somebody has read, the socket says nothing to others.
    news: Notify,
}

/// What the agent has told so far.
#[derive(Debug, Default)]
struct Told {
    started: Option<Started>,
    outcome: Option<Outcome>,
    /// Is told of the outcome.
    watcher: Watcher,
}

/// That a command runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: u64,
    pub(super) pid: u32,
    /// The end of its terminal that shows it.
    pub(super) terminal: Option<OwnedFd>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Exited(Exit, ResourceUsage),
    /// It was never started.
    Failed(StartError),
    /// The agent has ended, or speaks no sense.
    Lost,
}

impl Outcome {
    /// What a reply says of it, if it is about that.
    pub(super) fn of(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Failed { stage, error } => Some(Self::Failed(StartError::new(stage, error))),
            Reply::Exited { end, usage } => Some(Self::Exited(exit(end), resource_usage(&usage))),
            _ => None,
        }
    }
}

impl Control {
    /// Must be called in a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; a Seqpacket \
            owns one descriptor from first to last"
    )]
    pub(super) fn new(socket: Seqpacket) -> io::Result<Self> {
        Ok(Self {
            socket: AsyncFd::with_interest(socket, Interest::READABLE)?,
            told: Mutex::default(),
            news: Notify::new(),
        })
    }

    /// Says something to the command's agent. That nobody is there any more is no error:
    /// the command has ended then.
    pub(super) fn say(&self, request: &Request<'_>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(16);
        request.encode(&mut bytes);
        match self.socket.get_ref().send(&bytes, &[]) {
            Err(error) if is_gone(&error) => Ok(()),
            said => said,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what has been said, and wakes whom that concerns; whether `enough` has.
    fn listen<T>(&self, enough: impl Fn(&mut Told) -> Option<T>) -> io::Result<Option<T>> {
        let mut told = self.told();
        let mut has_news = false;
        let found = loop {
            if let Some(answer) = enough(&mut told) {
                break Ok(Some(answer));
            }
            match self.hear(&mut told) {
                Ok(()) => has_news = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        if told.outcome.is_some() && has_news {
            told.watcher.note();
        }
        let waker = told.watcher.take();
        drop(told);
        if has_news {
            self.news.notify_waiters();
        }
        waker.into_iter().for_each(Waker::wake);
        found
    }

    fn hear(&self, told: &mut Told) -> io::Result<()> {
        let mut buffer = [0; Reply::MAX];
        let packet = match self.socket.get_ref().receive(&mut buffer) {
            // The agent has not read all that it was told. What it said comes after this.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) if is_gone(&error) => {
                told.outcome = Some(Outcome::Lost);
                return Ok(());
            }
            packet => packet?,
        };
        match Reply::decode(&buffer[..packet.length]) {
            Ok(Reply::Started { id, pid }) => {
                let terminal = packet.fds.into_iter().next();
                told.started = Some(Started { id, pid, terminal });
            }
            // The end, or nonsense, is none.
            reply => told.outcome = reply.ok().and_then(Outcome::of).or(Some(Outcome::Lost)),
        }
        Ok(())
    }

    async fn until<T>(&self, enough: impl Fn(&mut Told) -> Option<T>) -> io::Result<T> {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            if let Some(answer) = enough(&mut self.told()) {
                return Ok(answer);
            }
            let mut ready = tokio::select! {
                biased;
                ready = self.socket.readable() => ready?,
                () = news => continue,
            };
            if let Some(answer) = self.listen(&enough)? {
                ready.retain_ready();
                return Ok(answer);
            }
            ready.clear_ready();
        }
    }

    /// Waits until it runs, or never will. Cancel-safe.
    pub(super) async fn started(&self) -> io::Result<Result<Started, Outcome>> {
        self.until(|told| match (told.started.take(), told.outcome) {
            (Some(started), _) => Some(Ok(started)),
            (None, Some(outcome)) => Some(Err(outcome)),
            (None, None) => None,
        })
        .await
    }

    /// Waits for its end. Cancel-safe, and the same answer each time.
    pub(super) async fn outcome(&self) -> io::Result<Outcome> {
        self.until(|told| told.outcome).await
    }

    /// What became of it, if that has been heard of already.
    pub(super) fn known_outcome(&self) -> Option<Outcome> {
        self.told().outcome
    }

    /// What became of it, if that has been told.
    pub(super) fn try_outcome(&self) -> io::Result<Option<Outcome>> {
        self.listen(|told| told.outcome)
    }

    /// Tells when it has ended. For one task at a time.
    pub(super) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // This is asked with every chunk of output: the kernel is only where there is news.
        {
            let mut told = self.told();
            if told.outcome.is_some() {
                return Poll::Ready(Ok(()));
            }
            told.watcher.watch(context);
        }
        loop {
            let mut news = ready!(self.socket.poll_read_ready(context))?;
            if self.try_outcome()?.is_some() {
                return Poll::Ready(Ok(()));
            }
            news.clear_ready();
        }
    }
}

/// Whether an error says that the other end has been closed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::NotConnected,
    ];
    gone.contains(&error.kind())
}

fn exit(end: End) -> Exit {
    match end {
        End::Code(code) => Exit::Code(code.into()),
        End::Signal(number) => match Signal::from_number(number.into()) {
            Some(signal) => Exit::Signal(signal),
            // The kernel has 64, and libc keeps some of them for itself.
            None => Exit::Code(128 + i32::from(number)),
        },
    }
}

fn resource_usage(usage: &protocol::Usage) -> ResourceUsage {
    let mut resources = ResourceUsage::default();
    resources.user = Duration::from_micros(usage.user);
    resources.system = Duration::from_micros(usage.system);
    resources.max_resident = usage.max_resident.saturating_mul(1024);
    resources.minor_faults = usage.minor_faults;
    resources.major_faults = usage.major_faults;
    resources.blocks_read = usage.blocks_read;
    resources.blocks_written = usage.blocks_written;
    resources.voluntary_switches = usage.voluntary_switches;
    resources.involuntary_switches = usage.involuntary_switches;
    resources
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[tokio::test]
    async fn what_the_agent_said_before_it_closed_is_heard() {
        let (ours, theirs) = Seqpacket::pair().unwrap();
        let control = Control::new(ours).unwrap();
        let mut bytes = Vec::new();
        let usage = protocol::Usage::default();
        let end = End::Code(3);
        Reply::Exited { end, usage }.encode(&mut bytes);
        // Closed with something unread: a reset, for the other end.
        control.say(&Request::Terminate).unwrap();
        theirs.send(&bytes, &[]).unwrap();
        drop(theirs);
        let outcome = control.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Exited(Exit::Code(3), _)),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_who_reads_it_first() {
        let (ours, theirs) = Seqpacket::pair().unwrap();
        let control = Control::new(ours).unwrap();
        let mut waiting = task::spawn(control.outcome());
        assert_pending!(waiting.poll());
        let mut watching = task::spawn(poll_fn(|context| control.poll_ended(context)));
        assert_pending!(watching.poll());
        let mut bytes = Vec::new();
        let usage = protocol::Usage::default();
        let end = End::Code(3);
        Reply::Exited { end, usage }.encode(&mut bytes);
        // The socket stays open, as that of a detached link does, and the runtime has not looked
        // at it when what came is read.
        theirs.send(&bytes, &[]).unwrap();
        assert!(control.try_outcome().unwrap().is_some());
        assert!(waiting.is_woken() && watching.is_woken());
        assert_ready!(waiting.poll()).unwrap();
        assert_ready!(watching.poll()).unwrap();
    }

    #[tokio::test]
    async fn an_agent_that_says_nothing_is_lost() {
        let (ours, theirs) = Seqpacket::pair().unwrap();
        let control = Control::new(ours).unwrap();
        control.say(&Request::Terminate).unwrap();
        drop(theirs);
        let outcome = control.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Lost), "{outcome:?}");
    }
}
