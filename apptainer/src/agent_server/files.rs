//! Files of the workspace.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Response};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::wire::Success;
use super::{AgentServer, AgentServerError};
use crate::blocking::blocking;

const UPLOADING: &str = "upload a file";
const DOWNLOADING: &str = "download a file";

/// How much of a file is read at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// Its files. Paths that do not begin with a slash begin in the working directory.
impl AgentServer {
    /// Copies a file of this host into the workspace, over what is there, with the directories that
    /// are missing. Says how many bytes that were.
    ///
    /// Dropping the future, or an error, may leave a part of it: the server writes it in place.
    pub async fn upload(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<u64, AgentServerError> {
        let source = source.as_ref();
        let failed = |error| file("read", source, error);
        let opened = tokio::fs::File::open(source).await.map_err(failed)?;
        let length = opened.metadata().await.map_err(failed)?.len();
        let progress = Arc::new(AtomicU64::new(0));
        let sent = Arc::clone(&progress);
        let stream = ReaderStream::with_capacity(opened, CHUNK).inspect_ok(move |chunk| {
            sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        let body = Body::wrap_stream(stream);
        self.send_file(destination.as_ref(), body, length, &progress)
            .await?;
        Ok(length)
    }

    /// Makes a file of the workspace, or replaces what is in one, with the directories that are
    /// missing. See [`upload`](Self::upload).
    pub async fn write(
        &self,
        path: impl AsRef<Path>,
        contents: impl Into<Bytes>,
    ) -> Result<(), AgentServerError> {
        let contents = contents.into();
        let length = contents.len() as u64;
        let progress = AtomicU64::new(0);
        let body = Body::from(contents);
        self.send_file(path.as_ref(), body, length, &progress).await
    }

    /// Copies a file of the workspace to this host, over what is there, with the directories that are
    /// missing. Says how many bytes that were.
    ///
    /// It is written beside its place and put there when it is whole. Dropping the future leaves what
    /// was there.
    pub async fn download(
        &self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<u64, AgentServerError> {
        let destination = destination.as_ref();
        let response = self.open_file(source.as_ref()).await?;
        let failed = |error| file("write", destination, error);
        let parent = match destination.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let made = blocking(move || {
            std::fs::create_dir_all(&parent)?;
            tempfile::Builder::new()
                .prefix(".apptainer-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(&parent)
        });
        let (handle, temporary) = made.await.map_err(failed)?.into_parts();
        let mut handle = tokio::fs::File::from_std(handle);
        let mut length = 0;
        let mut response = response;
        while let Some(chunk) = self.chunk(&mut response).await? {
            handle.write_all(&chunk).await.map_err(failed)?;
            length += chunk.len() as u64;
        }
        handle.sync_all().await.map_err(failed)?;
        let place = destination.to_owned();
        let put = blocking(move || temporary.persist(place).map_err(|error| error.error));
        put.await.map_err(failed)?;
        Ok(length)
    }

    /// All that is in a file of the workspace. Cancel-safe.
    pub async fn read(&self, path: impl AsRef<Path>) -> Result<Bytes, AgentServerError> {
        let mut response = self.open_file(path.as_ref()).await?;
        let mut contents = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            contents.extend_from_slice(&chunk);
        }
        Ok(contents.into())
    }

    /// Makes a directory of the workspace, with those that are missing. That it is there already is no
    /// error.
    pub async fn create_directory(&self, path: impl AsRef<Path>) -> Result<(), AgentServerError> {
        const DOING: &str = "make a directory";
        let path = self.text(DOING, path.as_ref())?;
        let http = &self.shared.http;
        let post = http.post("api/file/create_directory");
        let _: Success = http.json(DOING, post.query(&[("path", path)])).await?;
        Ok(())
    }

    /// A path of the workspace as text.
    pub(super) fn text(
        &self,
        doing: &'static str,
        path: &Path,
    ) -> Result<String, AgentServerError> {
        let text = self.resolve(path).into_os_string().into_string();
        text.map_err(|path| AgentServerError::Input {
            doing,
            reason: format!(
                "{} is not UTF-8, and the server takes text only",
                path.display()
            ),
        })
    }

    async fn send_file(
        &self,
        path: &Path,
        body: Body,
        length: u64,
        progress: &AtomicU64,
    ) -> Result<(), AgentServerError> {
        let http = &self.shared.http;
        let part = Part::stream_with_length(body, length).file_name("file");
        let text = self.text(UPLOADING, path)?;
        let request = http
            .post("api/file/upload")
            .query(&[("path", text)])
            .multipart(Form::new().part("file", part));
        let answer = async {
            let response = http.send(UPLOADING, request).await?;
            let answer = response.bytes().await;
            answer.map_err(|error| http.failed(UPLOADING, &error))
        };
        let mut answer = std::pin::pin!(answer);
        let mut seen = 0;
        let answer = loop {
            let limit = http.limit();
            if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
                break answer?;
            }
            let sent = progress.load(Ordering::Relaxed);
            if sent == seen {
                let doing = UPLOADING;
                return Err(AgentServerError::TimedOut { doing, limit });
            }
            seen = sent;
        };
        let answer: Success =
            serde_json::from_slice(&answer).map_err(|error| AgentServerError::Answer {
                doing: UPLOADING,
                reason: error.to_string(),
            })?;
        match answer.file_size {
            Some(written) if written != length => Err(AgentServerError::Size {
                path: self.resolve(path),
                sent: length,
                written,
            }),
            _ => Ok(()),
        }
    }

    async fn open_file(&self, path: &Path) -> Result<Response, AgentServerError> {
        let http = &self.shared.http;
        let path = self.text(DOWNLOADING, path)?;
        let request = http.get("api/file/download").query(&[("path", path)]);
        http.response(DOWNLOADING, request).await
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, AgentServerError> {
        let http = &self.shared.http;
        let chunk = async {
            let chunk = response.chunk().await;
            chunk.map_err(|error| http.failed(DOWNLOADING, &error))
        };
        http.in_time(DOWNLOADING, chunk).await
    }
}

fn file(doing: &'static str, path: &Path, source: std::io::Error) -> AgentServerError {
    AgentServerError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
