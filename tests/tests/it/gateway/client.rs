//! As little HTTP as it takes.

use std::io;

use apptainer::gateway::Gateway;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Why not.
    pub(super) fn detail(&self) -> Value {
        self.json()["detail"].clone()
    }
}

/// Asks with the key.
pub(super) async fn ask(gateway: &Gateway, method: &str, path: &str, body: &[u8]) -> Answer {
    let headers = format!("X-Session-API-Key: {}\r\n", gateway.api_key());
    ask_with(gateway, method, path, &headers, body).await
}

/// Asks with these headers.
pub(super) async fn ask_with(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let message = [head.as_bytes(), body].concat();
    let answer = match gateway.socket_path() {
        Some(path) => talk(UnixStream::connect(path).await.unwrap(), &message).await,
        None => talk(connect(gateway).await, &message).await,
    };
    parse(&answer.unwrap())
}

pub(super) async fn connect(gateway: &Gateway) -> TcpStream {
    let address = gateway.local_addr().unwrap();
    TcpStream::connect(address).await.unwrap()
}

async fn talk(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    // What is refused may be answered before all of it has been read.
    let sent = stream.write_all(message).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        sent?;
        read?;
    }
    Ok(answer)
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let mut rest = &answer[end + 4..];
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
            let length = std::str::from_utf8(&rest[..end]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                break;
            }
            body.extend_from_slice(&rest[end + 2..][..length]);
            rest = &rest[end + 2 + length + 2..];
        }
    } else {
        body.extend_from_slice(rest);
    }
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body,
    }
}

/// Starts a line, and tells its id.
pub(super) async fn start(gateway: &Gateway, line: &str, timeout: u32) -> String {
    let body = json!({"command": line, "timeout": timeout}).to_string();
    let path = "/api/bash/start_bash_command";
    let answer = ask(gateway, "POST", path, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Runs a line by the route that waits.
pub(super) async fn execute(gateway: &Gateway, line: &str, timeout: u32) -> Value {
    let body = json!({"command": line, "timeout": timeout}).to_string();
    let path = "/api/bash/execute_bash_command";
    let answer = ask(gateway, "POST", path, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Searches, and tells the events.
pub(super) async fn search(gateway: &Gateway, query: &str) -> Vec<Value> {
    let path = format!("/api/bash/bash_events/search?{query}");
    let answer = ask(gateway, "GET", &path, b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["items"].as_array().unwrap().clone()
}
