//! A file that is open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::Metadata;

/// A file of a container's, open for reading.
///
/// Its bytes come straight from the file system. It can be read after the container has ended, and
/// what is read is what was opened, also when another file has its path by then.
#[derive(Debug)]
pub struct File {
    file: tokio::fs::File,
    metadata: Metadata,
}

impl File {
    pub(super) fn new(file: std::fs::File, metadata: Metadata) -> Self {
        Self {
            file: file.into(),
            metadata,
        }
    }

    /// What it was when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The file, for reading without a runtime. Where a FUSE program serves it, the kernel may
    /// refuse the host's processes to ask what it is (`fstat`), though they can read it.
    ///
    /// Waits for what is being read; what was read ahead is lost.
    pub async fn into_std(self) -> std::fs::File {
        self.file.into_std().await
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}
