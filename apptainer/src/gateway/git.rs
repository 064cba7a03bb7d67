//! What has been changed in repositories.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::Refusal;
use super::input::Input;
use super::run::sources;
use super::state::Shared;
use crate::workspace::{Git, GitChange, GitDiff, GitError};

async fn git(shared: &Shared) -> Result<&Git, Refusal> {
    shared.note_asked();
    let git = shared.workspace.git().await;
    git.map_err(|error| Refusal::bad(sources(&error)))
}

fn refusal(error: &GitError) -> Refusal {
    match error {
        GitError::Exec(_) | GitError::Spawn(_) | GitError::Unexpected { .. } => {
            Refusal::internal(sources(error))
        }
        error => Refusal::bad(sources(error)),
    }
}

pub(super) async fn changes(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<Vec<GitChange>>, Refusal> {
    let path = input.required("path")?;
    match git(&shared).await?.changes(path, input.get("ref")).await {
        Ok(changes) => Ok(Json(changes)),
        Err(error) if error.is_not_a_repository() || error.is_not_found() => Ok(Json(Vec::new())),
        Err(error) => Err(refusal(&error)),
    }
}

pub(super) async fn diff(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<GitDiff>, Refusal> {
    let path = input.required("path")?;
    match (input.get("ref"), input.get("commit")) {
        (Some(_), Some(_)) => {
            return Err(Refusal::bad("'ref' and 'commit' are mutually exclusive"));
        }
        (None, Some(_)) => return Err(no_commits()),
        _ => {}
    }
    match git(&shared).await?.diff(path, input.get("ref")).await {
        Ok(diff) => Ok(Json(diff)),
        Err(error) if error.is_not_a_repository() => Ok(Json(GitDiff::default())),
        Err(error) => Err(refusal(&error)),
    }
}

/// Nothing here asks for the history of a repository.
pub(super) async fn commits(input: Input) -> Refusal {
    match input.required("path") {
        Ok(_) => no_commits(),
        Err(refusal) => refusal,
    }
}

fn no_commits() -> Refusal {
    let detail = "This gateway does not tell of commits; run git in the workspace";
    Refusal::new(StatusCode::NOT_IMPLEMENTED, detail)
}
