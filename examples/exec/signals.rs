//! Signals that are meant for the command.

use std::io;

use apptainer::sys::process::Signal;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// Those that would otherwise end this program, and leave the command to itself.
pub(crate) struct Signals {
    interrupt: Listener,
    quit: Listener,
    terminate: Listener,
    hang_up: Listener,
}

impl Signals {
    /// From now on they are caught.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}
