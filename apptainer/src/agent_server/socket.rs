//! Sockets that a server tells news on.

use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::AgentServerError;
use super::http::Http;
use super::wire::Authenticate;

/// The most that a message may hold, in bytes: of a line's output at most 1 MiB of characters, which
/// are up to six bytes each there, of both streams.
const LARGEST: usize = 64 * 1024 * 1024;

/// A socket of a server's.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens the one at this path. Whether the key was accepted shows when something is read.
    pub(super) async fn open(
        http: &Http,
        doing: &'static str,
        path: &str,
    ) -> Result<Self, AgentServerError> {
        let mut socket = http.in_time(doing, connect(http, doing, path)).await?;
        if let Some(key) = http.key() {
            let frame = Authenticate {
                session_api_key: key.text().to_owned(),
            };
            let frame = serde_json::to_string(&frame).expect("it is text");
            socket.send(doing, frame).await?;
        }
        Ok(socket)
    }

    pub(super) async fn send(
        &mut self,
        doing: &'static str,
        text: String,
    ) -> Result<(), AgentServerError> {
        let sent = self.0.send(Message::text(text)).await;
        sent.map_err(|error| lost(doing, &error))
    }

    /// The next message; `None` where the server has closed it in order. Cancel-safe.
    pub(super) async fn next(
        &mut self,
        doing: &'static str,
    ) -> Result<Option<String>, AgentServerError> {
        loop {
            match self.0.next().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(doing, &error)),
                Some(Ok(Message::Text(text))) => return Ok(Some(text.as_str().to_owned())),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map(|frame| u16::from(frame.code));
                    let reason = frame.map(|frame| frame.reason.as_str().to_owned());
                    let detail = reason.unwrap_or_default();
                    return match code {
                        None | Some(1000 | 1001) => Ok(None),
                        Some(4001) => Err(AgentServerError::Unauthorized { doing }),
                        Some(status) => Err(AgentServerError::Status {
                            doing,
                            status,
                            detail,
                        }),
                    };
                }
                Some(Ok(_)) => {}
            }
        }
    }
}

async fn connect(http: &Http, doing: &'static str, path: &str) -> Result<Socket, AgentServerError> {
    let mut url = http.url().join(path).expect("paths of ours are plain");
    if url.scheme() != "http" {
        return Err(AgentServerError::Input {
            doing,
            reason: "sockets are not to be had of a server that is asked by HTTPS".to_owned(),
        });
    }
    let refused = |url: &Url, reason: String| AgentServerError::Connect {
        doing,
        url: url.to_string(),
        reason,
    };
    let host = url.host_str().unwrap_or_default();
    let address = (host.trim_matches(['[', ']']), url.port().unwrap_or(80));
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| refused(&url, error.to_string()))?;
    // Small messages are not to wait for others.
    stream
        .set_nodelay(true)
        .map_err(|error| refused(&url, error.to_string()))?;
    url.set_scheme("ws").expect("it stands for HTTP");
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let opened =
        tokio_tungstenite::client_async_with_config(url.as_str(), stream, Some(config)).await;
    let (socket, _) = opened.map_err(|error| lost(doing, &error))?;
    Ok(Socket(socket))
}

fn lost(doing: &'static str, error: &tokio_tungstenite::tungstenite::Error) -> AgentServerError {
    AgentServerError::Lost {
        doing,
        reason: error.to_string(),
    }
}
