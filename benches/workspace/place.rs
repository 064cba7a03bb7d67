//! A client of one's own, with the agent server's image.

use std::time::Instant;

use apptainer::Apptainer;
use apptainer::agent_server::{AgentServer, AgentServerBuilder};
use apptainer::gateway::Gateway;
use apptainer::workspace::{Source, Workspace, WorkspaceBuilder};
use fixtures::OpenHands;

use crate::python::Python;

pub(crate) struct Place {
    folder: tempfile::TempDir,
    client: Apptainer,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").expect("it can be written to");
        let client = Apptainer::builder()
            .config_dir(folder.path().join("config"))
            .store_dir(folder.path().join("store"))
            .build()
            .await
            .expect("Apptainer is installed");
        Self { folder, client }
    }

    /// A workspace on the agent server's image.
    pub(crate) fn workspace(&self) -> WorkspaceBuilder {
        self.workspace_of(OpenHands::find().sif())
    }

    pub(crate) fn workspace_of(&self, image: impl Into<Source>) -> WorkspaceBuilder {
        let builder = self.client.workspace(image);
        builder.runtime_dir(self.folder.path().join("runtime"))
    }

    pub(crate) fn agent_server(&self) -> AgentServerBuilder {
        let builder = self.client.agent_server(OpenHands::find().sif());
        builder.runtime_dir(self.folder.path().join("runtime"))
    }

    /// Everything that lines are run by.
    pub(crate) async fn subjects(&self) -> Subjects {
        let server = self.agent_server().start().await.expect("it starts");
        let workspace = self.workspace().start().await.expect("it starts");
        let gateway = Gateway::builder(&workspace).start().await;
        let gateway = gateway.expect("it starts");
        let mut python = Python::start();
        let folder = workspace.working_dir().to_string_lossy().into_owned();
        python.connect("server", server.url(), server.api_key(), &folder);
        python.connect("gateway", &gateway.url(), Some(gateway.api_key()), &folder);
        Subjects {
            server,
            workspace,
            gateway,
            python,
        }
    }
}

pub(crate) struct Subjects {
    pub(crate) server: AgentServer,
    pub(crate) workspace: Workspace,
    gateway: Gateway,
    pub(crate) python: Python,
}

/// What [`Subjects`] are called, in the order in which they are shown. The first two are on the
/// agent server, the others on a native workspace.
pub(crate) const NAMES: [&str; 4] = [
    "SDK, agent server",
    "our client, agent server",
    "SDK, gateway",
    "native",
];

impl Subjects {
    pub(crate) async fn stop(self) {
        drop(self.python);
        self.gateway.stop().await.expect("it stops");
        self.workspace.stop().await.expect("it stops");
        self.server.stop().await.expect("it stops");
    }
}

pub(crate) fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
