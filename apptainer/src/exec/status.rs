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

    /// Its exit code, or the signal that killed it.
    pub fn exit(self) -> Exit {
        self.exit
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
/// A command is the same by each, but for this. The environment, identity, privileges,
/// namespaces, mounts, limits, signals, directory and the rest of what a process can see of
/// itself are compared by the tests line by line.
///
/// | | by an agent | by an `apptainer exec` | because |
/// | --- | --- | --- | --- |
/// | variable `APPTAINER_RS_EXEC` | is there | | it marks what the command starts, so that all of it can be killed |
/// | soft limit on file locks | a number | the caller's | so does this, where the environment was cleared; Linux has not looked at it since 2.4.25 |
/// | what is killed with it | all that it has started | what is below it, or in its session | only an agent has marks |
/// | session and group | its own | `apptainer`'s | its group can be signalled, and its terminal be its own |
/// | descriptors | its streams | those too that its caller left open | nobody says which are meant for it |
/// | what is passed on | as it was when the agent was started | as it is when the command is | an agent is started once, and asks nobody again: the caller's environment, directory, umask, limits and niceness |
/// | that it cannot be started | is known when it is [spawned](super::Command::spawn) | is known when it is waited for | `apptainer` tells of it as it ends |
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
