//! Who answers what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::answer::Refusal;
use super::state::Shared;
use super::{bash, file, git, input, socket};
use crate::api_key::ApiKey;

/// The version of the agent server that this answers as.
const VERSION: &str = "1.58.2";

/// How large the body of a request may be that is not an upload.
const MOST_JSON: usize = 16 << 20;

pub(super) fn router(shared: Arc<Shared>, max_body: usize) -> Router {
    let upload = post(file::upload).layer(DefaultBodyLimit::max(max_body));
    let workspace = Router::new()
        .route("/bash/start_bash_command", post(bash::start))
        .route("/bash/execute_bash_command", post(bash::execute))
        .route("/bash/bash_events/search", get(bash::search))
        .route("/bash/bash_events/{event_id}", get(bash::get))
        .route("/bash/bash_events/", get(bash::batch))
        .route("/bash/bash_events", delete(bash::clear))
        .route("/bash/bash_commands/{command_id}/stop", post(bash::stop))
        .route("/file/upload", upload)
        .route("/file/download", get(file::download))
        .route("/file/create_directory", post(file::create_directory))
        .route("/file/home", get(file::home))
        .route("/file/search_subdirs", get(file::subdirectories))
        .route("/file/archive", get(file::archive))
        .route("/git/changes", get(git::changes))
        .route("/git/diff", get(git::diff))
        .route("/git/commits", get(git::commits))
        .route("/git/commits/{sha}/changes", get(git::commits));
    let asks = middleware::from_fn_with_state(Arc::clone(&shared), authenticated);
    Router::new()
        .nest("/api/conversations/{conversation_id}", workspace.clone())
        .nest("/api", workspace)
        .route("/api/conversations", any(conversations))
        .route_layer(asks)
        .route("/health", get(health))
        .route("/alive", get(health))
        .route("/ready", get(ready))
        .route("/server_info", get(info))
        .route("/sockets/bash-events", get(socket::bash_events))
        .fallback(other)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MOST_JSON))
        .with_state(shared)
}

fn is_authenticated(shared: &Shared, request: &Request) -> bool {
    let key = request.headers().get(ApiKey::HEADER);
    key.is_some_and(|key| shared.key.is(key.as_bytes()))
}

fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")
}

async fn authenticated(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if !is_authenticated(&shared, &request) {
        return Err(unauthorized());
    }
    let path = request.uri().path();
    let conversation = path.strip_prefix("/api/conversations/");
    if let Some(id) = conversation.and_then(|rest| rest.split('/').next()) {
        input::id(id, &["path", "runtime_conversation_id"])?;
    }
    Ok(next.run(request).await)
}

async fn conversations() -> Refusal {
    let detail = "This gateway has no conversations: it runs commands in one workspace";
    Refusal::new(StatusCode::NOT_IMPLEMENTED, detail)
}

/// What no route is for.
async fn other(State(shared): State<Arc<Shared>>, request: Request) -> Refusal {
    if !request.uri().path().starts_with("/api/conversations/") {
        return Refusal::not_found();
    }
    if is_authenticated(&shared, &request) {
        conversations().await
    } else {
        unauthorized()
    }
}

async fn not_allowed(method: Method) -> Response {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    tracing::debug!(%method, "a method is not allowed");
    refusal.into_response()
}

async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    if shared.workspace.is_alive() && !shared.closing.is_cancelled() {
        (StatusCode::OK, Json(json!({"status": "ready"})))
    } else {
        let message = "The workspace does not run";
        let answer = json!({"status": "initializing", "message": message});
        (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
    }
}

async fn info(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let uptime = shared.since.elapsed().as_secs();
    let idle = uptime.saturating_sub(shared.asked.load(Ordering::Relaxed));
    Json(json!({
        "uptime": uptime,
        "idle_time": idle,
        "title": concat!("Gateway of apptainer ", env!("CARGO_PKG_VERSION")),
        "version": VERSION,
        "sdk_version": VERSION,
        "tools_version": VERSION,
        "workspace_version": VERSION,
        "build_git_sha": "unknown",
        "build_git_ref": "unknown",
        "python_version": "none",
        "usable_tools": [],
        "runtime_idle_timeout_seconds": null,
        "conversation_runtime": "local",
        "available_conversation_runtimes": [],
        "capabilities": [],
        "app_backend_ingress_url": null,
        "max_foreground_terminal_timeout_seconds": null,
        "docs": "/docs",
        "redoc": "/redoc",
    }))
}
