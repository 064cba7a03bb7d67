//! The end of what a process wrote to standard error.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Keeps the last bytes that pass by; shared by whoever reads and whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
}

/// Enough for the messages that Apptainer ends with.
const KEPT: usize = 8 * 1024;

impl Tail {
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (kept.len() + bytes.len()).saturating_sub(KEPT);
        kept.drain(..excess);
        kept.extend(bytes);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().copied().collect()
    }
}

/// What is in a pipe now, without waiting for more.
///
/// Not by way of tokio, which does not read before it has been told by the kernel
/// that it can, and that takes a turn of the runtime.
pub(crate) fn read_available(pipe: impl AsFd) -> Vec<u8> {
    // What a process wrote before it ended is in the pipe, which is finite; what
    // others add to that is of no interest.
    const MOST: usize = 1 << 20;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while bytes.len() < MOST {
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..)) {
            break;
        }
        match nix::unistd::read(pipe.as_fd(), &mut buffer) {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            // An error too leaves nothing to learn from.
            Ok(0) | Err(_) => break,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::default();
        tail.push(&vec![b'a'; KEPT - 1]);
        tail.push(b"bc");
        let bytes = tail.bytes();
        assert_eq!(bytes.len(), KEPT);
        assert!(bytes.ends_with(b"abc"));
        tail.push(&vec![b'd'; 3 * KEPT]);
        assert_eq!(tail.bytes(), vec![b'd'; KEPT]);
    }

    #[test]
    fn what_is_in_a_pipe_is_read_without_waiting() {
        use std::io::Write;
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert!(read_available(&reader).is_empty());
        writer.write_all(b"some").unwrap();
        assert_eq!(read_available(&reader), b"some");
        drop(writer);
        assert!(read_available(&reader).is_empty());
    }
}
