//! The socket that tells of all shell lines, and takes more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::answer::Refusal;
use super::input::{Input, execute_value};
use super::state::Shared;
use crate::agent_server::wire::{Authenticate, BashError, BashEvent};
use crate::api_key::ApiKey;

/// How long a caller may take to show the key.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that a frame may hold.
const MOST: usize = 16 << 20;

pub(super) async fn bash_events(
    State(shared): State<Arc<Shared>>,
    input: Input,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = input.get("session_api_key").map(str::as_bytes);
    let header = headers.get(ApiKey::HEADER).map(HeaderValue::as_bytes);
    let is_known = match query.or(header) {
        Some(key) if !shared.key.is(key) => return StatusCode::FORBIDDEN.into_response(),
        key => key.is_some(),
    };
    let resends = match input.one_of("resend_mode", &["all"]) {
        Ok(None) => matches!(input.flag("resend_all"), Ok(Some(true))),
        Ok(Some(_)) => true,
        Err(_) => return StatusCode::FORBIDDEN.into_response(),
    };
    let upgrade = upgrade.max_message_size(MOST).max_frame_size(MOST);
    upgrade.on_upgrade(move |socket| async move {
        // Whoever has gone need not be told.
        let _ = serve(socket, &shared, is_known, resends).await;
    })
}

async fn serve(
    mut socket: WebSocket,
    shared: &Arc<Shared>,
    is_known: bool,
    resends: bool,
) -> Result<(), axum::Error> {
    if !is_known && !authenticate(&mut socket, shared).await {
        return close(socket, 4001, "Authentication failed").await;
    }
    let Ok(_turn) = Arc::clone(&shared.sockets).try_acquire_owned() else {
        return close(socket, 1013, "Too many bash event connections").await;
    };
    let mut count = shared.events.watch();
    let mut next = if resends { 0 } else { shared.events.count() };
    loop {
        while let Some((number, event)) = shared.events.from(next) {
            next = number + 1;
            tokio::select! {
                sent = send(&mut socket, &event.event) => sent?,
                () = shared.dead.cancelled() => return Ok(()),
            }
        }
        tokio::select! {
            changed = count.changed() => if changed.is_err() { return Ok(()) },
            () = shared.closing.cancelled() => {
                return close(socket, 1001, "The gateway is shutting down").await;
            }
            message = socket.recv() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(message) => {
                    if let Some(error) = take(shared, &message?) {
                        send(&mut socket, &BashEvent::Error(error)).await?;
                    }
                }
            },
        }
    }
}

/// Does what a caller asks for, and says what is wrong with that.
fn take(shared: &Arc<Shared>, message: &Message) -> Option<BashError> {
    let bytes = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return None,
    };
    let error = |code: &str, detail: String| {
        Some(BashError {
            code: code.to_owned(),
            detail,
        })
    };
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(wrong) => return error("JSONDecodeError", wrong.to_string()),
    };
    if serde_json::from_value::<Authenticate>(value.clone()).is_ok() {
        return None;
    }
    let wrong = |code: &str, refusal: Refusal| error(code, refusal.text());
    match execute_value(&value) {
        Ok(request) => match shared.start(request) {
            Ok(_) => None,
            Err(refusal) => wrong("RuntimeError", refusal),
        },
        Err(refusal) => wrong("ValidationError", refusal),
    }
}

async fn authenticate(socket: &mut WebSocket, shared: &Shared) -> bool {
    let first = tokio::select! {
        first = tokio::time::timeout(PATIENCE, socket.recv()) => first,
        () = shared.closing.cancelled() => return false,
    };
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return false;
    };
    let first: Result<Authenticate, _> = serde_json::from_str(&text);
    first.is_ok_and(|first| shared.key.is(first.session_api_key.as_bytes()))
}

async fn send(socket: &mut WebSocket, event: &BashEvent) -> Result<(), axum::Error> {
    let text = serde_json::to_string(event).map_err(axum::Error::new)?;
    socket.send(Message::Text(text.into())).await
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) -> Result<(), axum::Error> {
    let reason = reason.into();
    let frame = CloseFrame { code, reason };
    socket.send(Message::Close(Some(frame))).await
}
