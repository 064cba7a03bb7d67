//! What a command gets as its standard streams.

use std::io;
use std::os::fd::OwnedFd;

use apptainer_sys::process;

/// What a command gets as one of its standard streams.
#[derive(Debug)]
pub struct Stdio {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// The caller's own.
    pub fn inherit() -> Self {
        Self {
            kind: Kind::Inherit,
        }
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self { kind: Kind::Null }
    }

    /// A pipe to the caller, which holds 256 KiB.
    pub fn piped() -> Self {
        Self { kind: Kind::Piped }
    }

    /// Whether a terminal's signals ought to reach the command: it shares it.
    pub(super) fn is_terminal(&self, inherited: &impl std::io::IsTerminal) -> bool {
        match &self.kind {
            Kind::Inherit => inherited.is_terminal(),
            Kind::Fd(fd) => std::io::IsTerminal::is_terminal(fd),
            Kind::Null | Kind::Piped => false,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    pub(super) fn to_sys(&self) -> io::Result<process::Stdio> {
        Ok(match &self.kind {
            Kind::Inherit => process::Stdio::Inherit,
            Kind::Null => process::Stdio::Null,
            Kind::Piped => process::Stdio::pipe(),
            Kind::Fd(fd) => process::Stdio::Fd(fd.try_clone()?),
        })
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self { kind: Kind::Fd(fd) }
    }
}

impl From<std::fs::File> for Stdio {
    fn from(file: std::fs::File) -> Self {
        OwnedFd::from(file).into()
    }
}
