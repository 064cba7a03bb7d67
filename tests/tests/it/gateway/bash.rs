//! Shell lines.

use apptainer::gateway::Gateway;
use fixtures::World;
use serde_json::{Value, json};

use super::client::{ask, execute, search, start};

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("")
}

#[tokio::test]
async fn a_search_waits_for_the_end() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    let id = start(&gateway, "sleep 0.3; pwd; echo e >&2; exit 3", 20).await;
    let query = format!("command_id__eq={id}&kind__eq=BashOutput&sort_order=TIMESTAMP&limit=100");
    let events = search(&gateway, &query).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    let said = (text(event, "stdout"), text(event, "stderr"));
    assert_eq!(said, ("/workspace\n", "e\n"));
    assert_eq!(
        (&event["exit_code"], &event["order"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(text(event, "id").len(), 32);
    let timestamp = text(event, "timestamp");
    assert!(
        timestamp.len() == 27 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    let path = format!("/api/bash/bash_events/{id}");
    assert_eq!(
        text(&ask(&gateway, "GET", &path, b"").await.json(), "kind"),
        "BashCommand"
    );
    let ids = json!([id, "none"]).to_string();
    let batch = ask(&gateway, "GET", "/api/bash/bash_events/", ids.as_bytes())
        .await
        .json();
    assert_eq!(
        (text(&batch[0], "id"), &batch[1]),
        (id.as_str(), &Value::Null)
    );
    // What is asked of a conversation is asked of the workspace.
    let path = "/api/conversations/ae89feb2-0b87-419e-966e-5aae0c496834/bash/bash_events/search";
    assert_eq!(
        ask(&gateway, "GET", path, b"").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let cleared = ask(&gateway, "DELETE", "/api/bash/bash_events", b"").await;
    assert_eq!(cleared.json(), json!({"cleared_count": 2}));
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn output_is_told_of_while_a_command_runs() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    let id = start(&gateway, "echo a; read x <fifo || sleep 60; echo b", 40).await;
    let query = format!("command_id__eq={id}&kind__eq=BashOutput");
    let events = search(&gateway, &query).await;
    assert_eq!(text(&events[0], "stdout"), "a\n", "{events:?}");
    assert_eq!(events[0]["exit_code"], Value::Null);
    let path = format!("/api/bash/bash_commands/{id}/stop");
    for _ in 0..2 {
        let stopped = ask(&gateway, "POST", &path, b"").await;
        assert_eq!(stopped.json(), json!({"success": true}));
    }
    let events = search(&gateway, &format!("{query}&order__gt=0")).await;
    assert_eq!(events[0]["exit_code"], -15, "{events:?}");
    let path = "/api/bash/bash_commands/ae89feb20b87419e966e5aae0c496834/stop";
    let unknown = ask(&gateway, "POST", path, b"").await;
    assert_eq!(
        (unknown.status, unknown.detail()),
        (404, json!("Not Found"))
    );
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_command_that_says_much_makes_few_events_and_loses_nothing() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    let line = "i=0; while [ $i -lt 40 ]; do printf '€%.0s' $(seq 50000); i=$((i+1)); done";
    let joined = execute(&gateway, line, 60).await;
    assert_eq!(joined["exit_code"], 0, "{:?}", joined["stderr"]);
    assert!(text(&joined, "stdout") == "€".repeat(2_000_000));
    let id = text(&joined, "command_id");
    let events = search(
        &gateway,
        &format!("command_id__eq={id}&kind__eq=BashOutput"),
    )
    .await;
    assert!((2..=90).contains(&events.len()), "{}", events.len());
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let builder = Gateway::builder(&workspace).max_history(1 << 20);
    let gateway = builder.start().await.unwrap();
    let first = start(&gateway, "echo first", 20).await;
    let joined = execute(&gateway, "head -c 8000000 /dev/zero | tr '\\0' x", 60).await;
    assert_eq!(joined["exit_code"], 0);
    let kept: usize = search(&gateway, "limit=100")
        .await
        .iter()
        .map(|event| text(event, "stdout").len())
        .sum();
    assert!(kept <= 3 << 20, "{kept}");
    let path = format!("/api/bash/bash_events/{first}");
    assert_eq!(ask(&gateway, "GET", &path, b"").await.status, 404);
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_took_too_long_keeps_what_it_wrote() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let builder = Gateway::builder(&workspace).max_timeout(std::time::Duration::from_secs(1));
    let gateway = builder.start().await.unwrap();
    let ended = execute(&gateway, "echo before; sleep 100", 300).await;
    assert_eq!(
        (&ended["exit_code"], text(&ended, "stdout")),
        (&json!(-1), "before\n")
    );
    assert_eq!(text(&ended, "stderr"), "Command timed out after 1 seconds");
    let body = json!({"command": "true", "cwd": "/missing"}).to_string();
    let path = "/api/bash/execute_bash_command";
    let failed = ask(&gateway, "POST", path, body.as_bytes()).await.json();
    assert_eq!(failed["exit_code"], -1);
    assert!(
        text(&failed, "stderr").starts_with("Error executing command: "),
        "{failed}"
    );
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}
