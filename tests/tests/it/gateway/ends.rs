//! What is left when somebody goes.

use apptainer::gateway::Gateway;
use fixtures::World;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::client::{connect, search, start};

#[tokio::test]
async fn who_hangs_up_ends_what_waits_for_nobody_else() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    let body = json!({"command": "echo a; sleep 1000", "timeout": 500}).to_string();
    let head = format!(
        "POST /api/bash/execute_bash_command HTTP/1.1\r\nHost: x\r\nX-Session-API-Key: {}\r\nContent-Length: {}\r\n\r\n{body}",
        gateway.api_key(),
        body.len(),
    );
    let mut stream = connect(&gateway).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let id = loop {
        let events = search(&gateway, "kind__eq=BashOutput").await;
        if let Some(event) = events.first() {
            break event["command_id"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    drop(stream);
    let query = format!("command_id__eq={id}&kind__eq=BashOutput&order__gt=0");
    let events = search(&gateway, &query).await;
    assert_eq!(events[0]["exit_code"], -15, "{events:?}");
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn stopped_or_dropped_it_leaves_nothing_and_the_workspace_goes_on() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    for is_stopped in [true, false] {
        let gateway = Gateway::builder(&workspace).start().await.unwrap();
        let address = gateway.local_addr().unwrap();
        start(
            &gateway,
            "trap '' TERM; echo >begun; while :; do sleep 1000; done",
            500,
        )
        .await;
        while !workspace.files().exists("begun").await.unwrap() {}
        workspace.files().remove_file("begun").await.unwrap();
        // One that says nothing, and is not waited for for ever.
        let idle = connect(&gateway).await;
        if is_stopped {
            gateway.stop().await.unwrap();
            assert!(tokio::net::TcpStream::connect(address).await.is_err());
        } else {
            drop(gateway);
        }
        loop {
            let line = "ps -o args | grep -c '[s]leep 1000'";
            let left = workspace.execute(line).await.unwrap();
            if left.stdout_text() == "0\n" {
                break;
            }
            assert!(!is_stopped, "{left:?}");
        }
        drop(idle);
    }
    workspace.stop().await.unwrap();
    world.finish();
}
