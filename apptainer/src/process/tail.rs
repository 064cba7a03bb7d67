//! The end of what a process wrote to standard error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

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
}
