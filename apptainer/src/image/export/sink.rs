//! Where bytes are written, counted and hashed on their way, until somebody says stop.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::image::digest::Hash;

/// Whether work on another thread is to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    is_set: Arc<AtomicBool>,
}

/// Says so when it is dropped.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) Stop);

impl Stop {
    /// Fails when it is.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_set.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        Ok(())
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.is_set.store(true, Ordering::Relaxed);
    }
}

/// Passes bytes on to `W`, and knows their number and hash.
pub(super) struct Sink<W> {
    inner: W,
    hash: Hash,
    length: u64,
    stop: Stop,
}

/// A blob by its hash: `sha256:..`, and its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(inner: W, stop: &Stop) -> Self {
        Self {
            inner,
            hash: Hash::like(None),
            length: 0,
            stop: stop.clone(),
        }
    }

    pub(super) fn finish(self) -> (W, Blob) {
        let digest = self.hash.finish();
        let size = self.length;
        (self.inner, Blob { digest, size })
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let length = self.inner.write(bytes)?;
        self.hash.update(&bytes[..length]);
        self.length += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Blob {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Hash::of(None, bytes),
            size: bytes.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_and_hashed() {
        let mut sink = Sink::new(Vec::new(), &Stop::default());
        sink.write_all(b"a").unwrap();
        sink.write_all(b"bc").unwrap();
        let (bytes, blob) = sink.finish();
        assert_eq!(bytes, b"abc");
        assert_eq!(blob, Blob::of(b"abc"));
        // Source: FIPS 180-4, the example of one block.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(blob.digest, format!("sha256:{known}"));
    }

    #[test]
    fn nothing_is_written_once_nobody_waits() {
        let stop = Stop::default();
        let mut sink = Sink::new(Vec::new(), &stop);
        drop(StopOnDrop(stop));
        sink.write_all(b"a").unwrap_err();
    }
}
