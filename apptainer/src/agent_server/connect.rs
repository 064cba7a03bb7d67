//! Connecting to a server that runs.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::http::Http;
use super::{AgentServer, AgentServerError};
use crate::api_key::ApiKey;

/// How long an answer may take, unless something else is said.
pub(super) const ANSWERING: Duration = Duration::from_secs(60);

/// A server to connect to: from [`AgentServer::connect`].
///
/// Awaited, it asks the server what it is, and whether it accepts the key.
#[derive(Debug, Clone)]
#[must_use = "a server is not asked anything until this is awaited"]
pub struct Connect {
    url: String,
    key: Option<ApiKey>,
    working_dir: PathBuf,
    limit: Duration,
}

impl Connect {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            key: None,
            working_dir: "/workspace".into(),
            limit: ANSWERING,
        }
    }

    /// The key that the server was started with, if it was. `Debug` does not show it.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(ApiKey::new(key));
        self
    }

    /// Where commands run, unless they say otherwise: an absolute path where the server is;
    /// `/workspace` otherwise.
    pub fn working_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_dir = path.into();
        self
    }

    /// How long an answer may take, and the silence in a file that is transferred: a minute
    /// otherwise. How long a command takes has nothing to do with it.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

impl IntoFuture for Connect {
    type Output = Result<AgentServer, AgentServerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if !self.working_dir.is_absolute() {
                return Err(AgentServerError::Input {
                    doing: "connect to an agent server",
                    reason: format!(
                        "its working directory {} is not absolute",
                        self.working_dir.display()
                    ),
                });
            }
            let http = Http::new(&self.url, self.key, self.limit)?;
            AgentServer::open(http, self.working_dir, None).await
        })
    }
}
