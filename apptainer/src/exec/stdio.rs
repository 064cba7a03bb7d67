//! What a command gets as its standard streams.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use apptainer_sys::process;

use super::ExecError;

/// What a command gets as one of its standard streams.
#[derive(Debug)]
pub struct Stdio {
    kind: Kind,
}

/// How many bytes a pipe holds: four times the kernel's default, which streams best.
const PIPE: usize = 256 * 1024;

/// A descriptor that a command gets.
pub(super) enum Theirs<'s> {
    Stdin(io::Stdin),
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    Borrowed(BorrowedFd<'s>),
    Owned(OwnedFd),
}

impl AsFd for Theirs<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdin(own) => own.as_fd(),
            Self::Stdout(own) => own.as_fd(),
            Self::Stderr(own) => own.as_fd(),
            Self::Borrowed(fd) => *fd,
            Self::Owned(fd) => fd.as_fd(),
        }
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// The caller's own. Does not go over a [stream](super::Link::over).
    pub fn inherit() -> Self {
        Self {
            kind: Kind::Inherit,
        }
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self { kind: Kind::Null }
    }

    /// A pipe to the caller, which holds 256 KiB. Over a [stream](super::Link::over) there is one
    /// there, and as much is kept here.
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

    /// Which of these streams frames carry; an error where one is neither piped nor null.
    pub(super) fn carried(streams: [&Self; 3]) -> Result<[bool; 3], ExecError> {
        let names = ["stdin", "stdout", "stderr"];
        for (stream, name) in streams.iter().zip(names) {
            if !matches!(stream.kind, Kind::Piped | Kind::Null) {
                return Err(ExecError::NotCarried { stream: name });
            }
        }
        Ok(streams.map(|stream| matches!(stream.kind, Kind::Piped)))
    }

    /// What a command gets for these streams, and our ends of its pipes.
    pub(super) fn open_all(
        [stdin, stdout, stderr]: [&Self; 3],
    ) -> io::Result<([Theirs<'_>; 3], [Option<OwnedFd>; 3])> {
        let (stdin, write) = stdin.open(Stream::Stdin)?;
        let (stdout, read) = stdout.open(Stream::Stdout)?;
        let (stderr, read_too) = stderr.open(Stream::Stderr)?;
        Ok(([stdin, stdout, stderr], [write, read, read_too]))
    }

    fn open(&self, stream: Stream) -> io::Result<(Theirs<'_>, Option<OwnedFd>)> {
        Ok(match &self.kind {
            Kind::Inherit => {
                let own = match stream {
                    Stream::Stdin => Theirs::Stdin(io::stdin()),
                    Stream::Stdout => Theirs::Stdout(io::stdout()),
                    Stream::Stderr => Theirs::Stderr(io::stderr()),
                };
                (own, None)
            }
            Kind::Null => (Theirs::Borrowed(null()?), None),
            Kind::Fd(fd) => (Theirs::Borrowed(fd.as_fd()), None),
            Kind::Piped => {
                let (reader, writer) = process::pipe(Some(PIPE))?;
                match stream {
                    Stream::Stdin => (Theirs::Owned(reader), Some(writer)),
                    Stream::Stdout | Stream::Stderr => (Theirs::Owned(writer), Some(reader)),
                }
            }
        })
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

/// `/dev/null`, open for reading and writing: once for all commands of this program.
fn null() -> io::Result<BorrowedFd<'static>> {
    static NULL: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(null) = NULL.get() {
        return Ok(null.as_fd());
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    Ok(NULL.get_or_init(|| null.into()).as_fd())
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
