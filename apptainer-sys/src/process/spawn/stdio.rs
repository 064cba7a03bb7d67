//! What a new process's descriptors are.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::process::pipe;

/// What a process gets as one of its three standard streams.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own; the [terminal](super::Spawn::terminal), if there is one.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A new pipe; the caller keeps the other end.
    Pipe {
        /// How many bytes it holds; the kernel's default of 64 KiB otherwise.
        capacity: Option<usize>,
    },
    /// This descriptor.
    Fd(OwnedFd),
}

impl Stdio {
    /// A pipe of the size that streams best: 256 KiB, four times the default.
    pub const fn pipe() -> Self {
        Self::Pipe {
            capacity: Some(256 * 1024),
        }
    }
}

/// What a child's streams and inherited descriptors are made of.
#[derive(Default)]
pub(super) struct Descriptors {
    /// The child's, with the number that each gets. None has a number that another
    /// gets.
    pub(super) theirs: Vec<(OwnedFd, RawFd)>,
    /// Our ends of its pipes, by stream.
    pub(super) ours: [Option<OwnedFd>; 3],
    /// Its terminal, likewise out of the way.
    pub(super) terminal: Option<OwnedFd>,
}

impl Descriptors {
    pub(super) fn open(
        streams: &[Stdio; 3],
        terminal: Option<&OwnedFd>,
        inherited: &[(OwnedFd, RawFd)],
    ) -> io::Result<Self> {
        let numbers: Vec<_> = inherited.iter().map(|(_, number)| *number).collect();
        let aside = |fd: OwnedFd| aside(fd, &numbers);
        let mut descriptors = Self::default();
        for (number, (stream, ours)) in (0..).zip(streams.iter().zip(&mut descriptors.ours)) {
            let theirs = match (stream, terminal) {
                (Stdio::Inherit, None) => continue,
                (Stdio::Inherit, Some(terminal)) => terminal.try_clone()?,
                (Stdio::Null, _) => dev_null()?,
                (Stdio::Fd(fd), _) => fd.try_clone()?,
                (Stdio::Pipe { capacity }, _) => {
                    let (reader, writer) = pipe::pipe(*capacity)?;
                    let is_input = number == 0;
                    let (theirs, kept) = if is_input {
                        (reader, writer)
                    } else {
                        (writer, reader)
                    };
                    *ours = Some(kept);
                    theirs
                }
            };
            descriptors.theirs.push((aside(theirs)?, number));
        }
        for (fd, number) in inherited {
            descriptors.theirs.push((aside(fd.try_clone()?)?, *number));
        }
        descriptors.terminal = terminal
            .map(|terminal| aside(terminal.try_clone()?))
            .transpose()?;
        Ok(descriptors)
    }

    /// The numbers above the streams that the child does not get.
    pub(super) fn gaps(&self) -> Vec<RangeInclusive<RawFd>> {
        let mut numbers: Vec<_> = self.theirs.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        let mut gaps = Vec::new();
        let mut first = 3;
        for number in numbers.into_iter().filter(|number| *number > 2) {
            if first < number {
                gaps.push(first..=number - 1);
            }
            first = number.saturating_add(1);
        }
        gaps.push(first..=RawFd::MAX);
        gaps
    }
}

fn dev_null() -> io::Result<OwnedFd> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(file.into())
}

/// The same at a number that is no stream's and none of `taken`.
fn aside(mut fd: OwnedFd, taken: &[RawFd]) -> io::Result<OwnedFd> {
    let mut least = 3;
    while fd.as_raw_fd() <= 2 || taken.contains(&fd.as_raw_fd()) {
        let other = duplicate(&fd, least)?;
        least = other.as_raw_fd().saturating_add(1);
        fd = other;
    }
    Ok(fd)
}

#[expect(
    unsafe_code,
    reason = "nix gives the number of a new descriptor, not its owner"
)]
fn duplicate(fd: &OwnedFd, at_least: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(at_least))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Those numbers that a child would get and shall not. What another thread opens
/// meanwhile, without close-on-exec, is missed.
pub(super) fn left_open(closed: &[RangeInclusive<RawFd>]) -> io::Result<Vec<RawFd>> {
    if closed.is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<RawFd> = name.to_str().and_then(|name| name.parse().ok());
        numbers.extend(number);
    }
    let is_closed = |number: &RawFd| closed.iter().any(|range| range.contains(number));
    numbers.retain(|number| is_closed(number) && is_inherited(*number));
    Ok(numbers)
}

#[expect(
    unsafe_code,
    reason = "a number is all that there is of what others opened"
)]
fn is_inherited(number: RawFd) -> bool {
    // SAFETY: it is only asked about, and one that is gone by now is an error.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(fd, FcntlArg::F_GETFD)
        .is_ok_and(|flags| !FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_is_not_listed() {
        let null = || dev_null().unwrap();
        let inherited = [(null(), 9), (null(), 3), (null(), 4)];
        let descriptors = Descriptors::open(&Default::default(), None, &inherited).unwrap();
        assert_eq!(descriptors.gaps(), [5..=8, 10..=RawFd::MAX]);
        assert_eq!(Descriptors::default().gaps(), [3..=RawFd::MAX]);
    }
}
