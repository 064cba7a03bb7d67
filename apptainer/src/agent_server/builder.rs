//! Starting a server in a container.

use std::path::{Path, PathBuf};
use std::time::Duration;

use apptainer_sys::process::Signal;
use tokio::time::{Instant, timeout_at};

use super::client::accepts_key;
use super::connect::ANSWERING;
use super::http::Http;
use super::{AgentServer, AgentServerError};
use crate::api_key::ApiKey;
use crate::instance::{Health, InstanceError, Limits, Port, Spec};
use crate::workspace::{Source, Workspace, WorkspaceBuilder, WorkspaceError};
use crate::{Apptainer, Gpu};

/// What its port is called.
const PORT: &str = "agent-server";

/// How long it may take until it is ready, unless something else is said.
const READINESS: Duration = Duration::from_secs(120);

/// How long a server has to end by itself. One that runs commands does not.
const GRACE: Duration = Duration::from_secs(3);

/// How many of the last lines that it wrote an error has.
const LINES: u64 = 30;

/// How a server is to be started: from [`Apptainer::agent_server`].
#[derive(Debug, Clone)]
#[must_use = "a server is not there until it is started"]
pub struct AgentServerBuilder {
    workspace: WorkspaceBuilder,
    working_dir: PathBuf,
    data_dir: PathBuf,
    key: ApiKey,
    readiness: Duration,
    limit: Duration,
    preloads_tools: bool,
}

impl Apptainer {
    /// An agent server to start in a container of its own, by the runscript of an image: a
    /// reference, the path of a SIF file or a sandbox, or a
    /// [`Definition`](crate::image::Definition), which is built first.
    ///
    /// It listens on the loopback only, at a port that is kept for it, and has a key that nobody else
    /// is told: not in arguments, which everybody can see. Its editor is off.
    pub fn agent_server(&self, source: impl Into<Source>) -> AgentServerBuilder {
        let workspace = self.workspace(source).with_spec(|spec| {
            let port = format!("{{port:{PORT}}}");
            spec.run(["--host", "127.0.0.1", "--port", &port])
                .port(Port::named(PORT))
                .env("OH_ENABLE_VSCODE", "false")
                .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
                .stop_signal(Signal::TERM)
                .stop_grace(GRACE)
        });
        AgentServerBuilder {
            workspace,
            working_dir: "/workspace".into(),
            data_dir: "/agent-server".into(),
            key: ApiKey::generate(),
            readiness: READINESS,
            limit: ANSWERING,
            preloads_tools: false,
        }
    }
}

impl AgentServerBuilder {
    fn with(mut self, change: impl FnOnce(WorkspaceBuilder) -> WorkspaceBuilder) -> Self {
        self.workspace = change(self.workspace);
        self
    }

    /// Where commands run: see [`WorkspaceBuilder::working_dir`].
    pub fn working_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_dir = path.into();
        self
    }

    /// Has this directory of the host be its working directory.
    pub fn mount_dir(self, path: impl Into<PathBuf>) -> Self {
        self.with(|workspace| workspace.mount_dir(path))
    }

    /// Has a file or directory of the host in the container.
    pub fn bind(self, source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        self.with(|workspace| workspace.bind(source, destination))
    }

    /// Sets a variable for the server and all that it runs.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|workspace| workspace.env(name, value))
    }

    /// Has it have the caller's variable of this name, if there is one when it is started.
    pub fn forward_env(self, name: impl Into<String>) -> Self {
        self.with(|workspace| workspace.forward_env(name))
    }

    /// What it may use.
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|workspace| workspace.limits(limits))
    }

    /// Brings in all of the machine's GPUs of a kind.
    pub fn gpu(self, gpu: Gpu) -> Self {
        self.with_spec(|spec| spec.gpu(gpu))
    }

    /// Whether its user is root inside: see [`WorkspaceBuilder::fakeroot`].
    pub fn fakeroot(self, is_root: bool) -> Self {
        self.with(|workspace| workspace.fakeroot(is_root))
    }

    /// Changes anything else of the instance that it runs in: see [`WorkspaceBuilder::with_spec`].
    pub fn with_spec(self, change: impl FnOnce(Spec) -> Spec) -> Self {
        self.with(|workspace| workspace.with_spec(change))
    }

    /// Where its writable layer is: see [`WorkspaceBuilder::runtime_dir`].
    pub fn runtime_dir(self, path: impl Into<PathBuf>) -> Self {
        self.with(|workspace| workspace.runtime_dir(path))
    }

    /// Where, in the container, it has its events, conversations and temporary files: `/agent-server`
    /// otherwise, in the writable layer, which is on disk. To have them outlast it
    /// [bind](Self::bind) a directory there.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = path.into();
        self
    }

    /// The key that it takes, which one is made up for otherwise. `Debug` does not show it.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.key = ApiKey::new(key);
        self
    }

    /// How long it may take until it is ready, from when its image is there: two minutes otherwise.
    pub fn readiness_timeout(mut self, limit: Duration) -> Self {
        self.readiness = limit;
        self
    }

    /// How long an answer may take: see
    /// [`Connect::request_timeout`](super::Connect::request_timeout).
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it loads its agents' tools before it answers, so that the first conversation begins
    /// sooner: no, unless this says so.
    pub fn preload_tools(mut self, are_loaded: bool) -> Self {
        self.preloads_tools = are_loaded;
        self
    }

    /// Has its image, starts it, and returns when it answers: it runs, it is one of its processes that
    /// listens at the port, it accepts the key, and no other.
    ///
    /// Where it does not get there, the error has the last lines that it wrote, and nothing of it is
    /// left. Dropping the future ends what has been started.
    pub async fn start(self) -> Result<AgentServer, AgentServerError> {
        let data = |name: &str| self.data_dir.join(name).to_string_lossy().into_owned();
        let health = Health::http(PORT, "/ready")
            .start_period(self.readiness)
            .start_interval(Duration::from_millis(100))
            .timeout(Duration::from_secs(10));
        let (key, temporary) = (self.key.text().to_owned(), data("tmp"));
        let workspace = self.workspace.working_dir(&self.working_dir);
        let workspace = workspace.with_spec(|spec| {
            spec.env("OH_SESSION_API_KEYS_0", key)
                .env("OH_PRELOAD_TOOLS", self.preloads_tools.to_string())
                .env("OH_BASH_EVENTS_DIR", data("bash_events"))
                .env("OH_CONVERSATIONS_PATH", data("conversations"))
                .env("TMPDIR", &temporary)
                .health(health)
                .start_deadline(self.readiness)
        });
        let workspace = workspace.start().await?;
        let deadline = Instant::now() + self.readiness;
        // Before the server, whose Python has barely begun, looks for it.
        let made = workspace.files().make_dir_all(&temporary).await;
        let opened = match made {
            Ok(()) => {
                let opening = open(&workspace, &self.working_dir, self.key, self.limit);
                timeout_at(deadline, opening).await
            }
            Err(error) => Ok(Err(WorkspaceError::from(error).into())),
        };
        let reason = match opened {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(Failed::NotReady(reason))) => reason,
            Ok(Err(Failed::Ended(reason, log))) => {
                workspace.stop().await?;
                return Err(AgentServerError::NotReady { reason, log });
            }
            Ok(Err(Failed::Other(error))) => {
                workspace.stop().await?;
                return Err(error);
            }
            Err(_) => format!("it was not ready after {:?}", self.readiness),
        };
        let log = last_lines(&workspace).await;
        workspace.stop().await?;
        Err(AgentServerError::NotReady { reason, log })
    }
}

/// Why a server cannot be used.
enum Failed {
    NotReady(String),
    Ended(String, String),
    Other(AgentServerError),
}

impl From<WorkspaceError> for Failed {
    fn from(error: WorkspaceError) -> Self {
        Self::Other(error.into())
    }
}

async fn open(
    workspace: &Workspace,
    working_dir: &Path,
    key: ApiKey,
    limit: Duration,
) -> Result<AgentServer, Failed> {
    let service = workspace.service();
    match service.ready().await {
        Ok(()) => {}
        Err(InstanceError::Ended { state, log, .. }) => {
            return Err(Failed::Ended(format!("it is {state}"), log));
        }
        Err(error) => return Err(WorkspaceError::from(error).into()),
    }
    let port = workspace.port(PORT).expect("it was asked for");
    let url = format!("http://127.0.0.1:{port}");
    let http = Http::new(&url, Some(key), limit).map_err(Failed::Other)?;
    let stranger = http.with_key(ApiKey::generate());
    match accepts_key(&stranger).await {
        Err(AgentServerError::Unauthorized { .. }) => {}
        Ok(()) => return Err(Failed::NotReady("it accepts any key".to_owned())),
        Err(error) => return Err(Failed::Other(error)),
    }
    let server = AgentServer::open(http, working_dir.to_owned(), Some(workspace.clone())).await;
    server.map_err(Failed::Other)
}

/// The end of what it wrote.
async fn last_lines(workspace: &Workspace) -> String {
    let mut text = String::new();
    let read = workspace.service().read_logs().tail(LINES).lines().await;
    let Ok(mut lines) = read else {
        return text;
    };
    while let Some(Ok(line)) = lines.next().await {
        text.push('\n');
        text.push_str(&line.text());
    }
    text
}
