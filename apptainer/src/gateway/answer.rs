//! Answers that say why not, in the form that the agent server gives them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::agent_server::wire::Failure;

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: Value,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: Value::String(detail.into()),
        }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    /// Something in the request is not as it should be.
    pub(super) fn invalid(
        kind: &str,
        at: &[&str],
        message: impl Into<String>,
        input: impl Into<Value>,
    ) -> Self {
        let (message, input) = (message.into(), input.into());
        let detail = json!([{"type": kind, "loc": at, "msg": message, "input": input}]);
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail,
        }
    }

    /// What is wrong, as text.
    pub(super) fn text(&self) -> String {
        match &self.detail {
            Value::String(text) => text.clone(),
            detail => detail.to_string(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let failure = Failure {
            detail: self.detail,
        };
        (self.status, Json(failure)).into_response()
    }
}
