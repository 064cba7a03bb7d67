//! Files from servers, verified while they come, and gone on with where a connection broke.

use std::any::Any;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::mpsc;

use super::RegistryError;
use super::http::{self, failure, next_chunk, transport, url};
use super::manifest::Descriptor;
use super::session::Session;
use crate::Apptainer;
use crate::blocking::blocking;
use crate::image::digest::Hash;
use crate::image::redact::redacted;

/// A file that is fetched from a server.
#[derive(Debug)]
pub(in crate::image) enum Download<'a> {
    /// A blob of a repository.
    Blob(&'a Session, &'a Descriptor),
    /// What lies at a URL.
    Url(&'a UrlFile),
}

/// A file at a URL, as the server describes it.
#[derive(Debug, Clone)]
pub(in crate::image) struct UrlFile {
    http: Client,
    host: String,
    url: reqwest::Url,
    /// What changes with the file, where the server tells such.
    pub(in crate::image) validator: Option<String>,
}

/// Why a file could not be had.
#[derive(Debug)]
pub(in crate::image) enum DownloadError {
    Registry(RegistryError),
    /// It could not be written.
    Io(io::Error),
}

impl From<RegistryError> for DownloadError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<io::Error> for DownloadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What nobody else may have while the file is written to: the thread that does so may go on for
/// a moment after the future is dropped.
pub(in crate::image) type Held = Arc<dyn Any + Send + Sync>;

/// Whatever the umask says, nobody else writes to what has been verified.
const MODE: u32 = 0o644;

/// How many pieces may wait to be written.
const WAITING: usize = 32;

impl UrlFile {
    /// Asks a server what lies there.
    pub(in crate::image) async fn ask(
        apptainer: &Apptainer,
        address: &str,
    ) -> Result<Self, RegistryError> {
        let url = url(&redacted(address), address)?;
        let host = match (url.host_str(), url.port()) {
            (Some(name), Some(port)) => format!("{name}:{port}"),
            (name, _) => name.unwrap_or_default().to_owned(),
        };
        let certificates = apptainer.registries().certificates();
        let http = http::client(&certificates, &host).await?;
        let send = async |request: RequestBuilder| {
            let response = request.send().await;
            response.map_err(|error| transport(&host, &error))
        };
        let mut response = send(http.head(url.clone())).await?;
        if matches!(
            response.status(),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        ) {
            // A URL may be signed for GET alone. What comes is not read.
            response = send(http.get(url.clone())).await?;
        }
        let headers = response.headers();
        let validator = headers.get(ETAG).or(headers.get(LAST_MODIFIED));
        let validator = validator.and_then(|value| value.to_str().ok());
        let validator = validator.map(str::to_owned);
        match response.status() {
            status if status.is_success() => {}
            // Some know no HEAD.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {}
            _ => return Err(failure(&host, response).await),
        }
        Ok(Self {
            http,
            host,
            url,
            validator,
        })
    }

    /// What changes with any byte of it.
    fn strong_validator(&self) -> Option<&str> {
        let validator = self.validator.as_deref();
        validator.filter(|validator| !validator.starts_with("W/"))
    }

    async fn get(&self, offset: u64) -> Result<Response, RegistryError> {
        let mut request = self.http.get(self.url.clone());
        if let Some(validator) = self.strong_validator().filter(|_| offset > 0) {
            request = request.header(RANGE, format!("bytes={offset}-"));
            // Of another file the rest would be wrong.
            request = request.header(IF_RANGE, validator);
        }
        let response = request.send().await;
        let response = response.map_err(|error| transport(&self.host, &error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(failure(&self.host, response).await)
        }
    }
}

impl Download<'_> {
    fn host(&self) -> &str {
        match self {
            Self::Blob(session, _) => &session.host,
            Self::Url(file) => &file.host,
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Blob(_, blob) => format!("the blob {}", blob.digest),
            Self::Url(file) => format!("the file {}", redacted(file.url.as_str())),
        }
    }

    async fn get(&self, offset: u64) -> Result<Response, RegistryError> {
        match self {
            Self::Blob(session, blob) => session.blob(&blob.digest, offset).await,
            Self::Url(file) => file.get(offset).await,
        }
    }

    /// Fetches what is missing of it into the file `part`, and says how many bytes it has now
    /// whenever that has grown. When this returns the file is whole, and verified where its
    /// digest is known.
    ///
    /// `held` is kept for as long as the file is written to. Dropped midway, or failed, it leaves
    /// what has come, to be gone on with; what is wrong is removed.
    pub(in crate::image) async fn fetch(
        &self,
        part: &Path,
        held: Held,
        told: impl Fn(u64),
    ) -> Result<(), DownloadError> {
        let mut goes_on = false;
        let fetched = self.go_on(part, Held::clone(&held), &told, &mut goes_on);
        match fetched.await {
            // What was there from before may be to blame, which another server may have sent.
            Err(DownloadError::Registry(RegistryError::Digest { .. })) if goes_on => {
                self.go_on(part, held, &told, &mut goes_on).await
            }
            fetched => fetched,
        }
    }

    async fn go_on(
        &self,
        part: &Path,
        held: Held,
        told: impl Fn(u64),
        goes_on: &mut bool,
    ) -> Result<(), DownloadError> {
        let path = part.to_owned();
        let (digest, size) = match self {
            Self::Blob(_, blob) => (Some(blob.digest.as_str()), Some(blob.size)),
            Self::Url(_) => (None, None),
        };
        let longest = match self {
            Self::Blob(_, blob) => blob.size,
            Self::Url(file) if file.strong_validator().is_some() => u64::MAX,
            Self::Url(_) => 0,
        };
        let mut hash = Hash::like(digest);
        let mut writing =
            blocking(move || Writing::open(path, held, &mut hash, longest).map(|w| (w, hash)))
                .await?;
        let offset = writing.0.length;
        told(offset);
        *goes_on = offset > 0;
        if size.is_none_or(|size| offset < size) {
            let mut response = self.get(offset).await?;
            if offset > 0 && !goes_on_at(&response, offset) {
                *goes_on = false;
                let (file, _) = writing;
                let fresh = Hash::like(digest);
                writing = blocking(move || file.restart().map(|file| (file, fresh))).await?;
            }
            writing = self.receive(&mut response, writing, size, told).await?;
        }
        let (file, hash) = writing;
        let failed = |expected, actual| RegistryError::Length {
            host: self.host().to_owned(),
            what: self.what(),
            expected,
            actual,
        };
        if let Some(size) = size.filter(|size| *size != file.length) {
            return Err(failed(size, file.length).into());
        }
        if let Some(expected) = digest {
            let actual = hash.finish();
            if actual != expected {
                file.remove();
                return Err(DownloadError::Registry(RegistryError::Digest {
                    host: self.host().to_owned(),
                    what: self.what(),
                    expected: expected.to_owned(),
                    actual,
                }));
            }
        }
        Ok(())
    }

    /// Has a thread hash and write what comes, while more of it comes.
    async fn receive(
        &self,
        response: &mut Response,
        (mut file, mut hash): (Writing, Hash),
        size: Option<u64>,
        told: impl Fn(u64),
    ) -> Result<(Writing, Hash), DownloadError> {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(WAITING);
        let mut length = file.length;
        // Without a length of its own an answer that breaks off could be taken for a whole one:
        // the protocol's own framing tells.
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = queue.blocking_recv() {
                hash.update(&piece);
                file.write(&piece)?;
            }
            Ok::<_, io::Error>((file, hash))
        });
        let mut ended = Ok(());
        loop {
            match next_chunk(self.host(), response).await {
                Ok(Some(piece)) => {
                    length += piece.len() as u64;
                    if let Some(size) = size.filter(|size| length > *size) {
                        ended = Err(RegistryError::Length {
                            host: self.host().to_owned(),
                            what: self.what(),
                            expected: size,
                            actual: length,
                        });
                        break;
                    }
                    if pieces.send(piece).await.is_err() {
                        // It could not be written: the writer tells why.
                        break;
                    }
                    told(length);
                }
                Ok(None) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        drop(pieces);
        let written = writing.await.map_err(io::Error::other)?;
        match ended {
            Ok(()) => Ok(written?),
            Err(error) => {
                if let (RegistryError::Length { .. }, Ok((file, _))) = (&error, written) {
                    file.remove();
                }
                Err(error.into())
            }
        }
    }
}

/// Whether an answer has the rest that was asked for, and not everything from the beginning.
fn goes_on_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// A file that grows.
struct Writing {
    _held: Held,
    path: PathBuf,
    file: File,
    length: u64,
}

impl Writing {
    /// Goes on with a file, whose bytes are hashed; from the beginning where it is longer than
    /// it may get, or where its rest could not be told from another's.
    fn open(path: PathBuf, held: Held, hash: &mut Hash, longest: u64) -> io::Result<Self> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(MODE)
            .open(&path)?;
        let found = file.metadata()?.len();
        let mut length = 0;
        if found <= longest {
            let mut buffer = vec![0; 1024 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => {
                        hash.update(&buffer[..count]);
                        length += count as u64;
                    }
                }
            }
        } else {
            file = fresh(&path)?;
        }
        file.seek(SeekFrom::Start(length))?;
        Ok(Self {
            _held: held,
            path,
            file,
            length,
        })
    }

    fn restart(mut self) -> io::Result<Self> {
        self.file = fresh(&self.path)?;
        self.length = 0;
        Ok(self)
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.length += piece.len() as u64;
        Ok(())
    }

    fn remove(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// An empty file in the place of another: who has lost its lease may still have that one open, and
/// somebody else have finished it.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .mode(MODE)
        .open(path)
}
