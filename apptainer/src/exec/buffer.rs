//! Memory that output is read into, chunk by chunk.

use bytes::{Bytes, BytesMut};

/// Gives out what is read into it without copying that.
///
/// Chunks share its memory, so that many small ones take one allocation, and it is used again
/// once the chunks are gone. How much is allocated at a time follows what comes: a command that
/// says little costs little.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: BytesMut,
    /// How much is allocated next.
    size: usize,
}

const LEAST: usize = 32 * 1024;
/// Four times what a pipe holds, and so what a read gives.
const MOST: usize = 1024 * 1024;

/// The least room worth reading into.
const ROOM: usize = 8 * 1024;

impl Default for Buffer {
    fn default() -> Self {
        Self {
            memory: BytesMut::new(),
            size: LEAST,
        }
    }
}

impl Buffer {
    /// Where to read to: behind what is there, which is nothing after [`take`](Self::take).
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let is_reused = self.memory.try_reclaim(self.size);
        if !is_reused && self.memory.capacity() < ROOM {
            self.memory.reserve(self.size);
        }
        &mut self.memory
    }

    /// What has been read.
    pub(super) fn take(&mut self) -> Bytes {
        let chunk = self.memory.split().freeze();
        if chunk.len() >= self.size / 4 {
            self.size = (self.size * 2).min(MOST);
        } else if chunk.len() < self.size / 16 {
            self.size = (self.size / 2).max(LEAST);
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, length: usize) -> Bytes {
        let room = buffer.room();
        let length = length.min(room.capacity());
        room.extend_from_slice(&vec![7; length]);
        buffer.take()
    }

    #[test]
    fn chunks_that_are_kept_share_allocations_and_stay_what_they_are() {
        let mut buffer = Buffer::default();
        let chunks: Vec<Bytes> = (0..100).map(|_| fill(&mut buffer, 100)).collect();
        let first = chunks[0].as_ptr() as usize;
        let last = chunks[99].as_ptr() as usize;
        assert_eq!(last - first, 9900);
        assert!(chunks.iter().all(|chunk| chunk[..] == [7; 100]));
    }

    #[test]
    fn memory_is_used_again_when_its_chunks_are_gone() {
        let mut buffer = Buffer::default();
        let first = fill(&mut buffer, 100).as_ptr();
        assert_eq!(fill(&mut buffer, 100).as_ptr(), first);
    }

    #[test]
    fn it_grows_and_shrinks_with_what_comes() {
        let mut buffer = Buffer::default();
        for _ in 0..20 {
            assert_eq!(fill(&mut buffer, 10).len(), 10);
        }
        assert_eq!(buffer.size, LEAST);
        for _ in 0..20 {
            fill(&mut buffer, usize::MAX);
        }
        assert_eq!(buffer.size, MOST);
        for _ in 0..20 {
            fill(&mut buffer, 10);
        }
        assert_eq!(buffer.size, LEAST);
    }
}
