//! Copying between a container and streams of the caller's.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::copy::remote_version;
use super::download::{is_unchanged, unchanged_by_name};
use crate::files::read::open_file;
use crate::files::server::Lease;
use crate::files::session::Remote;
use crate::files::write::{Manner, Unfinished, write_all};
use crate::files::{Files, FilesError};

/// What is carried at a time.
const CHUNK: usize = 1 << 20;

impl Files {
    /// Writes what a stream carries to a file, which is there once that has ended, as a whole.
    /// Directories that it is in are made. Returns how many bytes it is.
    pub async fn upload_from(
        &self,
        mut reader: impl AsyncRead + Unpin,
        destination: impl AsRef<Path>,
    ) -> Result<u64, FilesError> {
        let path = self.remote(destination)?;
        let manner = Manner {
            syncs: false,
            makes_parents: true,
            resumes: false,
            mode: None,
            modified: None,
        };
        let mut lease = self.lease().await?;
        let result = carry_in(&mut lease, &mut reader, path, manner).await;
        lease.give_back();
        result
    }

    /// Writes what is in a file to a stream, which is flushed and not shut down. Returns how many
    /// bytes it was.
    ///
    /// # Errors
    ///
    /// [`Changed`](FilesError::Changed) where the file was written to meanwhile: what the stream
    /// has got is then a mixture.
    pub async fn download_to(
        &self,
        source: impl AsRef<Path>,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<u64, FilesError> {
        let path = self.remote(source)?;
        let opened = path.clone();
        let opened = self.run(move |session| open_file(session, "read", &opened));
        let (file, metadata) = opened.await?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(CHUNK);
        let mut buffer = BytesMut::with_capacity(CHUNK);
        let failed = |source| FilesError::Stream {
            at: path.at(),
            source,
        };
        let mut carried = 0;
        loop {
            buffer.clear();
            let read = file.read_buf(&mut buffer).await;
            let read = read.map_err(FilesError::within("read", path.path()))?;
            if read == 0 {
                break;
            }
            writer.write_all(&buffer).await.map_err(failed)?;
            carried += u64::try_from(read).unwrap_or(0);
        }
        writer.flush().await.map_err(failed)?;
        let file = file.into_std().await;
        // Files of the kernel's say that they are empty, and are not.
        if metadata.len() > 0 && carried != remote_version(&metadata).0 {
            let at = path.at();
            return Err(FilesError::Changed { at });
        }
        if !is_unchanged(&file, &metadata) && metadata.len() > 0 {
            self.run(move |session| {
                let now = session.status(&path, true)?.ok();
                unchanged_by_name(now.as_ref(), &metadata, &path)
            })
            .await?;
        }
        Ok(carried)
    }
}

async fn carry_in(
    lease: &mut Lease,
    reader: &mut (impl AsyncRead + Unpin),
    path: Remote,
    manner: Manner,
) -> Result<u64, FilesError> {
    let at = path.at();
    let begin = move |session: &mut _| Unfinished::begin(session, &path, manner);
    let mut unfinished = lease.run(begin).await?;
    let mut carried = 0;
    loop {
        let chunk = match read_chunk(reader).await {
            Ok(chunk) => chunk,
            Err(source) => {
                let failed = FilesError::Stream { at, source };
                let finish = move |session: &mut _| unfinished.finish(session, Err(failed));
                return lease.run(finish).await.map(|()| carried);
            }
        };
        if chunk.is_empty() {
            let finish = move |session: &mut _| unfinished.finish(session, Ok(()));
            return lease.run(finish).await.map(|()| carried);
        }
        carried += u64::try_from(chunk.len()).unwrap_or(0);
        unfinished = lease
            .run(
                move |session| match write_all(session, &unfinished, &chunk) {
                    Ok(()) => Ok(unfinished),
                    Err(error) => {
                        let taken_away = unfinished.finish(session, Err(error));
                        Err(taken_away
                            .err()
                            .unwrap_or(FilesError::NotThere { source: None }))
                    }
                },
            )
            .await?;
    }
}

/// The next that a stream carries; empty at its end.
async fn read_chunk(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while buffer.len() < CHUNK {
        if reader.read_buf(&mut buffer).await? == 0 {
            break;
        }
    }
    Ok(buffer.freeze())
}
