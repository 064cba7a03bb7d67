//! How a command ended, and how it was run.

use std::fmt;

use apptainer_sys::process::{Exit, Signal};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitStatus {
    exit: Exit,
}

impl ExitStatus {
    pub(super) fn new(exit: Exit) -> Self {
        Self { exit }
    }

    /// Whether it exited with 0.
    pub fn success(self) -> bool {
        self.exit.success()
    }

    /// Its exit code, unless a signal killed it.
    ///
    /// In a container with its own PID namespace ([`Contain::All`]) and no
    /// instance, a command killed by signal `n` has the code `128 + n`: there
    /// Apptainer's init stands between it and us.
    ///
    /// [`Contain::All`]: crate::Contain::All
    pub fn code(self) -> Option<i32> {
        self.exit.code()
    }

    /// The signal that killed it, if one did.
    pub fn signal(self) -> Option<Signal> {
        self.exit.signal()
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exit.fmt(f)
    }
}

/// By which way a command reached its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// An `apptainer exec` of its own.
    Cli,
}
