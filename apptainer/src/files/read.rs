//! Reading files.

use std::fs;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use super::session::{Remote, Session};
use super::{File, Files, FilesError, Kind, Metadata};
use crate::exec::files_protocol::opening;

/// What is read at a time.
const CHUNK: usize = 1 << 20;

/// Opens a regular file for reading, with other flags besides.
pub(super) fn open_file(
    session: &mut Session,
    doing: &'static str,
    path: &Remote,
) -> Result<(fs::File, Metadata), FilesError> {
    let opened = session.open(path, opening::READ, 0)?;
    checked(opened, doing, path)
}

/// What has been opened, if it is a regular file.
pub(super) fn checked(
    opened: std::io::Result<(fs::File, Metadata)>,
    doing: &'static str,
    path: &Remote,
) -> Result<(fs::File, Metadata), FilesError> {
    let (file, metadata) = match opened {
        Ok(opened) => opened,
        // A socket, or a device that is not there.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
            let (at, kind) = (path.at(), Kind::Unknown);
            return Err(FilesError::Special { at, kind });
        }
        Err(error) => return Err(FilesError::within(doing, path.path())(error)),
    };
    let at = path.at();
    // Who serves it could lie; the kernel does not, if it may be asked.
    let mode = rustix::fs::fstat(&file).map(|found| found.st_mode);
    let kind = mode.map_or(metadata.kind(), Kind::of_mode);
    match kind {
        Kind::File => Ok((file, metadata)),
        Kind::Directory => Err(FilesError::IsADirectory { doing, at }),
        kind => Err(FilesError::Special { at, kind }),
    }
}

impl Files {
    /// All that is in a file.
    pub async fn read(&self, path: impl AsRef<Path>) -> Result<Bytes, FilesError> {
        self.read_up_to(path, u64::MAX).await
    }

    /// The same of a file with no more than so many bytes: more are an
    /// [error](FilesError::TooLarge), and not read.
    pub async fn read_up_to(
        &self,
        path: impl AsRef<Path>,
        limit: u64,
    ) -> Result<Bytes, FilesError> {
        let path = self.remote(path)?;
        self.run(move |session| {
            let (mut file, metadata) = open_file(session, "read", &path)?;
            let too_large = || FilesError::TooLarge {
                at: path.at(),
                limit,
            };
            if metadata.len() > limit {
                return Err(too_large());
            }
            // Files of the kernel's say that they are empty, and are not.
            let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
            let mut bytes = Vec::with_capacity(expected.min(1 << 30) + 1);
            loop {
                session.go_on()?;
                let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX);
                let read = file.by_ref().take(chunk).read_to_end(&mut bytes);
                let read = read.map_err(FilesError::within("read", path.path()))?;
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if length > limit {
                    return Err(too_large());
                }
                if read == 0 {
                    return Ok(bytes.into());
                }
            }
        })
        .await
    }

    /// Opens a file for reading.
    pub async fn open(&self, path: impl AsRef<Path>) -> Result<File, FilesError> {
        let path = self.remote(path)?;
        let opened = self.run(move |session| open_file(session, "open", &path));
        let (file, metadata) = opened.await?;
        Ok(File::new(file, metadata))
    }
}
