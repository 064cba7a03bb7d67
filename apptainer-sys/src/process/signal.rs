//! Signals by number and by name.

use std::fmt;

/// A signal, by its number on this platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt, as from Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// Quit, as from Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// End at once; cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// Free for programs' own use.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// Free for programs' own use.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// A pipe without a reader was written to.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// End, please.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Halt; cannot be caught.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// Go on after a halt.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// The signal with this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=libc::SIGRTMAX())
            .contains(&number)
            .then_some(Self(number))
    }

    /// Its name, `SIGTERM`; real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        let known = nix::sys::signal::Signal::try_from(self.0).ok()?;
        Some(known.as_str())
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }

    pub(super) fn from_wait_status(number: i32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_shown_by_name_where_they_have_one() {
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        let realtime = Signal::from_number(libc::SIGRTMIN() + 1).unwrap();
        assert!(realtime.to_string().starts_with("signal "));
    }

    #[test]
    fn numbers_that_are_no_signals_are_refused() {
        assert_eq!(Signal::from_number(0), None);
        assert_eq!(Signal::from_number(-9), None);
        assert_eq!(Signal::from_number(1000), None);
        assert_eq!(Signal::from_number(15), Some(Signal::TERM));
    }
}
