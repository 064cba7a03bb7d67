//! Files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use super::answer::Refusal;
use super::input::Input;
use super::run::sources;
use super::state::Shared;
use crate::agent_server::wire::Success;
use crate::files::{FilesError, Kind};

/// What is read of a file at a time.
const CHUNK: usize = 256 << 10;

/// A path, which has to be absolute.
fn path(input: &Input) -> Result<&Path, Refusal> {
    let path = Path::new(input.required("path")?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Refusal::bad("Path must be absolute"))
    }
}

/// For what the routes do not tell apart.
fn refusal(doing: &str, error: &FilesError) -> Refusal {
    let reason = sources(error);
    match error {
        FilesError::PermissionDenied { .. } | FilesError::ReadOnly { .. } => Refusal::new(
            StatusCode::FORBIDDEN,
            format!("Permission denied: {reason}"),
        ),
        FilesError::NoSpace { .. } => {
            let detail = format!("Failed to {doing}: {reason}");
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        _ => Refusal::internal(format!("Failed to {doing}: {reason}")),
    }
}

pub(super) async fn upload(
    State(shared): State<Arc<Shared>>,
    input: Input,
    multipart: Result<Multipart, MultipartRejection>,
) -> Result<Json<Success>, Refusal> {
    shared.note_asked();
    let path = path(&input);
    let missing = || Refusal::invalid("missing", &["body", "file"], "Field required", Value::Null);
    let mut multipart = multipart.map_err(|_| missing())?;
    let path = path?;
    loop {
        let field = multipart.next_field().await;
        let Some(field) = field.map_err(|error| broken(&error))? else {
            return Err(missing());
        };
        if field.name() != Some("file") {
            continue;
        }
        let reader = StreamReader::new(field.map_err(io::Error::other));
        let uploaded = shared.workspace.files().upload_from(reader, path).await;
        let size = uploaded.map_err(|error| not_uploaded(&error))?;
        return Ok(Json(Success {
            success: true,
            file_size: Some(size),
        }));
    }
}

fn broken(error: &MultipartError) -> Refusal {
    Refusal::new(error.status(), error.body_text())
}

fn not_uploaded(error: &FilesError) -> Refusal {
    match error {
        FilesError::Stream { source, .. } => {
            let source = source.get_ref();
            match source.and_then(|source| source.downcast_ref::<MultipartError>()) {
                Some(error) => broken(error),
                None => refusal("upload file", error),
            }
        }
        FilesError::IsADirectory { .. } => Refusal::bad("Path is a directory"),
        FilesError::NotADirectory { .. } | FilesError::Exists { .. } => {
            Refusal::bad("A parent of the path is not a directory")
        }
        error => refusal("upload file", error),
    }
}

pub(super) async fn download(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Response, Refusal> {
    shared.note_asked();
    let path = path(&input)?;
    let opened = shared.workspace.files().open(path).await;
    let file = opened.map_err(|error| match &error {
        FilesError::NotFound { .. } | FilesError::NotADirectory { .. } => {
            Refusal::new(StatusCode::NOT_FOUND, "File not found")
        }
        FilesError::IsADirectory { .. } | FilesError::Special { .. } => {
            Refusal::bad("Path is not a file")
        }
        error => refusal("download file", error),
    })?;
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_DISPOSITION, disposition(path));
    let length = file.metadata().len();
    let response = match length {
        // Files of the kernel's say that they are empty, and are not.
        0 => response.body(Body::from_stream(ReaderStream::with_capacity(file, CHUNK))),
        length => {
            let stream = ReaderStream::with_capacity(file.take(length), CHUNK);
            let response = response.header(CONTENT_LENGTH, length);
            response.body(Body::from_stream(stream))
        }
    };
    response.map_err(Refusal::internal)
}

/// Under what name it is to be saved, as RFC 6266 has it.
fn disposition(path: &Path) -> String {
    use std::fmt::Write as _;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if name.bytes().all(is_plain) {
        return format!("attachment; filename=\"{name}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("attachment; filename*=utf-8''{encoded}")
}

pub(super) async fn create_directory(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<Success>, Refusal> {
    shared.note_asked();
    let made = shared.workspace.files().make_dir_all(path(&input)?).await;
    made.map_err(|error| match &error {
        FilesError::NotADirectory { .. } | FilesError::Exists { .. } => {
            Refusal::bad("Path exists and is not a directory")
        }
        error => refusal("create directory", error),
    })?;
    Ok(Json(Success {
        success: true,
        file_size: None,
    }))
}

/// The names of the directories in one, in order.
async fn directories(
    shared: &Shared,
    path: &Path,
    with_hidden: bool,
) -> Result<Vec<String>, FilesError> {
    let entries = shared.workspace.files().list(path).await?;
    let directories = entries
        .into_iter()
        .filter(|entry| entry.kind == Kind::Directory);
    let names = directories.filter_map(|entry| entry.name.into_string().ok());
    let mut names: Vec<_> = names
        .filter(|name| with_hidden || !name.starts_with('.'))
        .collect();
    names.sort_by_cached_key(|name| (name.to_lowercase(), name.clone()));
    Ok(names)
}

pub(super) async fn home(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<Value>, Refusal> {
    let with_hidden = input.flag("include_hidden")?.unwrap_or(false);
    let told = shared.workspace.execute("printf %s \"${HOME:-/}\"").await;
    let home = told.map_err(|error| Refusal::internal(sources(&error)))?;
    let home = home.stdout_text();
    // One that is not there has none.
    let names = directories(&shared, Path::new(&home), with_hidden).await;
    let names = names.unwrap_or_default();
    let favorite = |name: &String| json!({"label": name, "path": Path::new(&home).join(name)});
    let favorites: Vec<_> = names.iter().take(50).map(favorite).collect();
    let locations = [json!({"label": "/", "path": "/"})];
    Ok(Json(
        json!({"home": home, "favorites": favorites, "locations": locations}),
    ))
}

pub(super) async fn subdirectories(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<Value>, Refusal> {
    let limit = input.limit()?;
    let with_hidden = input.flag("include_hidden")?.unwrap_or(false);
    let path = path(&input)?;
    let names = directories(&shared, path, with_hidden).await;
    let names = names.map_err(|error| match &error {
        FilesError::NotFound { .. } => Refusal::new(StatusCode::NOT_FOUND, "Directory not found"),
        FilesError::NotADirectory { .. } => Refusal::bad("Path is not a directory"),
        error => refusal("list directory", error),
    })?;
    let page = input.get("page_id");
    let start = names.iter().position(|name| Some(name.as_str()) == page);
    let start = start.unwrap_or(0);
    let item = |name: &String| json!({"name": name, "path": path.join(name)});
    let items: Vec<_> = names.iter().skip(start).take(limit).map(item).collect();
    let next = names.get(start + limit);
    Ok(Json(json!({"items": items, "next_page_id": next})))
}

/// Nothing here makes archives.
pub(super) async fn archive() -> Refusal {
    let detail = "This gateway makes no archives; run tar in the workspace";
    Refusal::new(StatusCode::NOT_IMPLEMENTED, detail)
}
