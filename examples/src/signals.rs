//! Signals, which would otherwise end a program midway.

use std::io;

use apptainer::sys::process::Signal;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// Those that somebody ends a program by.
#[derive(Debug)]
pub struct Signals {
    interrupt: Listener,
    quit: Listener,
    terminate: Listener,
    hang_up: Listener,
}

impl Signals {
    /// From now on they are caught.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }

    /// Ends this program by one that was caught, as it would have ended without.
    pub fn end_by(signal: Signal) {
        let _ = signal_hook::low_level::emulate_default_handler(signal.number());
    }
}
