//! The socket that tells of shell lines.

use apptainer::gateway::Gateway;
use fixtures::World;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client::{connect, execute};

type Socket = WebSocketStream<TcpStream>;

async fn open(gateway: &Gateway, query: &str) -> Socket {
    let url = format!(
        "ws://{}/sockets/bash-events{query}",
        gateway.local_addr().unwrap()
    );
    client_async(url, connect(gateway).await).await.unwrap().0
}

async fn say(socket: &mut Socket, value: &Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    let message = socket.next().await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

fn key(gateway: &Gateway) -> Value {
    json!({"type": "auth", "session_api_key": gateway.api_key()})
}

#[tokio::test]
async fn it_takes_lines_and_tells_of_them() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    execute(&gateway, "echo before", 5).await;
    let mut socket = open(&gateway, "").await;
    say(&mut socket, &key(&gateway)).await;
    say(&mut socket, &json!({"command": 7})).await;
    assert_eq!(hear(&mut socket).await["code"], "ValidationError");
    say(&mut socket, &key(&gateway)).await;
    say(&mut socket, &json!({"command": "echo new", "timeout": 5})).await;
    let command = hear(&mut socket).await;
    assert_eq!(command["command"], "echo new", "{command}");
    let output = hear(&mut socket).await;
    assert_eq!(
        (&output["stdout"], &output["exit_code"]),
        (&json!("new\n"), &json!(0))
    );
    assert_eq!(output["command_id"], command["id"]);
    let query = format!("?resend_mode=all&session_api_key={}", gateway.api_key());
    let mut other = open(&gateway, &query).await;
    assert_eq!(hear(&mut other).await["command"], "echo before");
    assert_eq!(hear(&mut other).await["stdout"], "before\n");
    gateway.stop().await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn who_has_no_key_is_told_nothing() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    for first in [
        json!({"type": "auth", "session_api_key": "wrong"}),
        json!({"command": "echo a"}),
        json!([]),
    ] {
        let mut socket = open(&gateway, "?resend_mode=all").await;
        say(&mut socket, &first).await;
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
            panic!("not closed");
        };
        assert_eq!(u16::from(frame.code), 4001);
    }
    let url = format!(
        "ws://{}/sockets/bash-events?session_api_key=x",
        gateway.local_addr().unwrap()
    );
    assert!(client_async(url, connect(&gateway).await).await.is_err());
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}
