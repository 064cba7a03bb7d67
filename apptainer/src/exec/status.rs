//! How a command ended, and how it was run.

use std::fmt;

use apptainer_sys::process::{Exit, ResourceUsage, Signal};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    exit: Exit,
    usage: ResourceUsage,
}

impl ExitStatus {
    pub(super) fn new(exit: Exit, usage: ResourceUsage) -> Self {
        Self { exit, usage }
    }

    /// Whether it exited with 0.
    pub fn success(self) -> bool {
        self.exit.success()
    }

    /// Its exit code, unless a signal killed it.
    ///
    /// With [`Mechanism::Cli`], in a container with its own PID namespace
    /// ([`Contain::All`]) and no instance, a command killed by signal `n` has the code
    /// `128 + n`: there Apptainer's init stands between it and us.
    ///
    /// [`Contain::All`]: crate::Contain::All
    pub fn code(self) -> Option<i32> {
        self.exit.code()
    }

    /// The signal that killed it, if one did.
    pub fn signal(self) -> Option<Signal> {
        self.exit.signal()
    }

    /// What it has used, with all of its children that it waited for. With
    /// [`Mechanism::Cli`] what `apptainer` used is in it too.
    pub fn usage(self) -> ResourceUsage {
        self.usage
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exit.fmt(f)
    }
}

/// By which way a command reaches its container.
///
/// A command is the same by each, but for this:
///
/// - Its environment, its working directory, its umask and its limits are those of an
///   `apptainer exec`: with an agent, of the one that started the agent, and otherwise of
///   its own. So with an agent a change in the caller's environment after that goes
///   unnoticed.
/// - With an agent it gets no descriptors but its streams, and leads a session of its own.
/// - With an agent it bears two marks, by which what it has started is known again when that
///   is to be killed, also what has a session of its own, has lost its parent and has cleared
///   its environment: the variable `APPTAINER_RS_EXEC`, and a soft limit on file locks
///   (`RLIMIT_LOCKS`), which Linux has not looked at since version 2.4.25. With an
///   `apptainer exec` of its own what is known is what is below that, or in its session.
/// - That it could not be started is known with an agent when it is
///   [spawned](super::Command::spawn), and otherwise when it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// An agent in the container starts it.
    Agent,
    /// An `apptainer exec` of its own.
    Cli,
}

impl Mechanism {
    /// Why it may not be there.
    pub(super) fn lack(self) -> &'static str {
        match self {
            Self::Agent => "none runs there; start an instance, or make a link",
            Self::Cli => "a link's container is reached by its agent alone",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "an agent",
            Self::Cli => "an `apptainer exec`",
        })
    }
}
