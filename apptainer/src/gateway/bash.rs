//! Shell lines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::answer::Refusal;
use super::events::Search;
use super::input::{Input, execute_request, id};
use super::state::Shared;
use crate::agent_server::wire::{
    BashCommand, BashEvent, BashEventPage, BashOutput, Cleared, Success,
};

/// How long a search waits for the end of a command, at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it still does when there is something to tell.
const LINGER: Duration = Duration::from_millis(500);

/// How long it waits where the timeout is below a second, and so told as none.
const SHORT: Duration = Duration::from_millis(30);

pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<BashCommand>, Refusal> {
    let request = execute_request(&body)?;
    Ok(Json(shared.start(request)?.command))
}

pub(super) async fn execute(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<BashOutput>, Refusal> {
    let started = shared.start(execute_request(&body)?)?;
    let id = &started.command.id;
    // Nobody else is told of it.
    let _guard = started.ends_with();
    ended(&shared, id).await;
    Ok(Json(shared.events.joined(id)))
}

/// Waits until a command has ended.
async fn ended(shared: &Shared, id: &str) {
    let mut count = shared.events.watch();
    while shared.events.runs(id) {
        tokio::select! {
            changed = count.changed() => if changed.is_err() { return },
            () = shared.dead.cancelled() => return,
        }
    }
}

pub(super) async fn search(
    State(shared): State<Arc<Shared>>,
    input: Input,
) -> Result<Json<BashEventPage>, Refusal> {
    let kind = input.one_of("kind__eq", &["BashCommand", "BashOutput"])?;
    let order = input.one_of("sort_order", &["TIMESTAMP", "TIMESTAMP_DESC"])?;
    let search = Search {
        outputs: kind.map(|kind| kind == "BashOutput"),
        command: input.id("command_id__eq")?,
        from: input.moment("timestamp__gte")?,
        before: input.moment("timestamp__lt")?,
        order_above: input.integer("order__gt")?,
        newest_first: order == Some("TIMESTAMP_DESC"),
        page: input.get("page_id").map(str::to_owned),
        limit: input.limit()?,
    };
    let follows = search.outputs == Some(true) && !search.newest_first;
    if let Some(command) = search.command.as_ref().filter(|_| follows) {
        wait(&shared, command, &search).await;
    }
    Ok(Json(shared.events.search(&search)))
}

/// Waits until a command has ended, or its output is to be told without that.
async fn wait(shared: &Shared, command: &str, search: &Search) {
    let Some(event) = shared.events.get(command) else {
        return;
    };
    let BashEvent::Command(found) = &event.event else {
        return;
    };
    let seconds = u64::try_from(found.timeout).unwrap_or(0);
    // Whoever asks gives up no sooner than the command does.
    let patience = match Duration::from_secs(seconds) / 2 {
        Duration::ZERO => SHORT,
        half => half.min(PATIENCE),
    };
    let mut until = Instant::now() + patience;
    let mut has_news = false;
    let mut count = shared.events.watch();
    while shared.events.runs(command) {
        let page = shared.events.search(search);
        if page.next_page_id.is_some() {
            return;
        }
        if !has_news && !page.items.is_empty() {
            has_news = true;
            until = until.min(Instant::now() + LINGER);
        }
        tokio::select! {
            changed = count.changed() => if changed.is_err() { return },
            () = sleep_until(until) => return,
            () = shared.closing.cancelled() => return,
        }
    }
}

pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json<BashEvent>, Refusal> {
    let id = names.get("event_id").map_or("", String::as_str);
    let event = shared.events.get(id).ok_or_else(Refusal::not_found)?;
    Ok(Json(event.event.clone()))
}

pub(super) async fn batch(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Json<Vec<Option<BashEvent>>>, Refusal> {
    let value: Value = serde_json::from_slice(&body)
        .map_err(|_| Refusal::invalid("json_invalid", &["body"], "JSON decode error", json!({})))?;
    let ids: Vec<String> = serde_json::from_value(value.clone()).map_err(|_| {
        Refusal::invalid(
            "list_type",
            &["body"],
            "Input should be a valid list",
            value,
        )
    })?;
    let event = |id: &String| shared.events.get(id).map(|event| event.event.clone());
    Ok(Json(ids.iter().map(event).collect()))
}

pub(super) async fn clear(State(shared): State<Arc<Shared>>) -> Json<Cleared> {
    Json(Cleared {
        cleared_count: shared.events.clear(),
    })
}

pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json<Success>, Refusal> {
    shared.note_asked();
    let name = names.get("command_id").map_or("", String::as_str);
    let id = id(name, &["path", "command_id"])?;
    if let Some(stop) = shared.events.running(&id) {
        stop.cancel();
        ended(&shared, &id).await;
    } else if shared.events.get(&id).is_none() {
        return Err(Refusal::not_found());
    }
    Ok(Json(Success {
        success: true,
        file_size: None,
    }))
}
