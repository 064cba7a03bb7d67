//! The handle of a server.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Method;

use super::events::BashEvents;
use super::http::Http;
use super::wire::Cleared;
use super::{AgentServerError, Connect, Execute, ServerInfo, ServerVersion};
use crate::Workspace;

/// An agent server, to run commands by, to copy files to and from, and to be asked what has been
/// changed.
///
/// A handle, cheap to clone. If it was [started](crate::Apptainer::agent_server) by this program, its
/// container is ended in the background when the last one is dropped; [`stop`](Self::stop) waits until
/// nothing of it is left.
///
/// What can safely be sent twice is, where the connection fails: what only reads, and what nobody has
/// received. A command that may have begun is never sent again.
#[derive(Debug, Clone)]
pub struct AgentServer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) http: Arc<Http>,
    pub(super) version: ServerVersion,
    working_dir: PathBuf,
    pub(super) events: BashEvents,
    /// What it runs in, if it was started here.
    workspace: Option<Workspace>,
}

// What it runs in knows the key.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("http", &self.http)
            .field("version", &self.version)
            .field("working_dir", &self.working_dir)
            .finish_non_exhaustive()
    }
}

impl AgentServer {
    /// Uses the server at this URL: `http://127.0.0.1:8000`.
    ///
    /// Proxies of the environment are not asked for what is on the loopback.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(url.into())
    }

    /// One that answers, in a version that is understood, and accepts the key.
    pub(super) async fn open(
        http: Http,
        working_dir: PathBuf,
        workspace: Option<Workspace>,
    ) -> Result<Self, AgentServerError> {
        let http = Arc::new(http);
        let info = server_info(&http).await?;
        info.version.check()?;
        accepts_key(&http).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                events: BashEvents::new(Arc::clone(&http)),
                http,
                version: info.version,
                working_dir,
                workspace,
            }),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.shared.http.url().as_str().trim_end_matches('/')
    }

    /// The key that it was started with, for other clients of it.
    pub fn api_key(&self) -> Option<&str> {
        Some(self.shared.http.key()?.text())
    }

    /// Its version, when it was connected to.
    pub fn version(&self) -> ServerVersion {
        self.shared.version
    }

    /// Where commands run, unless they say otherwise.
    pub fn working_dir(&self) -> &Path {
        &self.shared.working_dir
    }

    /// A path in the workspace as it is meant: below the working directory, if it is not absolute.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.shared.working_dir.join(path)
    }

    /// The container that it runs in, if this program started it: to run commands and copy files
    /// without the server.
    pub fn workspace(&self) -> Option<&Workspace> {
        self.shared.workspace.as_ref()
    }

    /// A shell line to run: `/bin/sh -c LINE`, each in a shell of its own.
    pub fn execute(&self, line: impl AsRef<OsStr>) -> Execute {
        Execute::new(self, line.as_ref())
    }

    /// Whether it answers. Cancel-safe.
    pub async fn alive(&self) -> bool {
        let http = &self.shared.http;
        let asked = http.bytes("ask whether the agent server is alive", http.get("alive"));
        asked.await.is_ok()
    }

    /// Whether it has begun to serve. Cancel-safe.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn ready(&self) -> Result<bool, AgentServerError> {
        let http = &self.shared.http;
        let request = http.get("ready");
        // Asked again where it says that it is not ready, which takes half a second.
        match http
            .bytes("ask whether the agent server is ready", request)
            .await
        {
            Ok(_) => Ok(true),
            Err(AgentServerError::Status { status: 503, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What it says of itself. Cancel-safe.
    pub async fn server_info(&self) -> Result<ServerInfo, AgentServerError> {
        server_info(&self.shared.http).await
    }

    /// Has it forget what is told of the lines that it has run, which it keeps for ever otherwise, a
    /// file each. Says how many events that were. Lines that run go on.
    pub async fn clear_bash_events(&self) -> Result<u64, AgentServerError> {
        let http = &self.shared.http;
        let request = http.request(Method::DELETE, "api/bash/bash_events");
        let cleared: Cleared = http
            .json("clear the events of shell lines", request)
            .await?;
        Ok(cleared.cleared_count)
    }

    /// Ends it, if it was started by this program: when this returns nothing of it is left. One that
    /// was connected to runs on. Dropping the future does not call it off.
    pub async fn stop(&self) -> Result<(), AgentServerError> {
        self.shared.events.close();
        match self.workspace() {
            Some(workspace) => Ok(workspace.stop().await?),
            None => Ok(()),
        }
    }
}

async fn server_info(http: &Http) -> Result<ServerInfo, AgentServerError> {
    let request = http.get("server_info");
    http.json("ask the agent server what it is", request).await
}

pub(super) async fn accepts_key(http: &Http) -> Result<(), AgentServerError> {
    let request = http.get("api/tools/");
    let answer = http.bytes("show the agent server the key", request);
    answer.await.map(|_| ())
}
