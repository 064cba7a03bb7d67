//! Pipes with a size.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// A pipe, both ends closed on exec: the reading end, then the writing end.
///
/// A `capacity` that the kernel does not grant (the user's pipes hold more than
/// `/proc/sys/fs/pipe-user-pages-soft` together) leaves the pipe at its default.
pub fn pipe(capacity: Option<usize>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    if let Some(capacity) = capacity.and_then(|bytes| i32::try_from(bytes).ok()) {
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(capacity));
    }
    Ok((reader, writer))
}

/// How many bytes a pipe holds.
pub fn pipe_capacity(pipe: impl AsFd) -> io::Result<usize> {
    let bytes = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?;
    usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_the_size_asked_for() {
        let (reader, _writer) = pipe(Some(256 * 1024)).unwrap();
        assert_eq!(pipe_capacity(&reader).unwrap(), 256 * 1024);
    }

    #[test]
    fn a_size_that_is_not_granted_leaves_a_pipe_that_works() {
        let (reader, _writer) = pipe(Some(usize::MAX)).unwrap();
        assert!(pipe_capacity(&reader).unwrap() >= 4096);
    }
}
