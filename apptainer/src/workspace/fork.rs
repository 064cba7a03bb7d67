//! Another workspace that begins with what is in one.

use std::path::Path;
use std::sync::Arc;

use super::builder::Start;
use super::layer::copy;
use super::{Workspace, WorkspaceError};
use crate::instance::State;

impl Workspace {
    /// Another workspace of the same image, with a copy of all that was written to this one: its
    /// files, not its processes, sessions, or what lies in directories of the host.
    ///
    /// This one is [paused](Self::pause) while that is copied, so that the copy is of one moment.
    /// File systems that can share the blocks of files do. A name or port that was chosen for this
    /// one is not free for the other.
    ///
    /// Dropping the future ends what has been started, and leaves this one as it was.
    pub async fn fork(&self) -> Result<Self, WorkspaceError> {
        let service = self.service();
        let Some(layer) = service.layer() else {
            return Err(WorkspaceError::NoLayer);
        };
        let pause = Pause::of(self).await?;
        let copied = copy(layer, service.pid()).await;
        pause.end().await?;
        let copied = copied?;
        let start = Start {
            client: self.shared.client.clone(),
            spec: self.shared.spec.clone(),
            image: self.shared.image.clone(),
            working_dir: self.shared.working_dir.clone(),
            mount_dir: self.shared.mount_dir.clone(),
            runtime_dir: self.shared.runtime_dir.clone(),
        };
        let fill = move |folder: &Path| copied.place(&folder.join("upper"));
        start.with(Some(Arc::new(fill))).await
    }
}

/// A workspace that stands still. Dropped, it goes on, unless it stood still before.
pub(super) struct Pause {
    workspace: Option<Workspace>,
}

impl Pause {
    pub(super) async fn of(workspace: &Workspace) -> Result<Self, WorkspaceError> {
        if workspace.state() == State::Paused {
            return Ok(Self { workspace: None });
        }
        // Before that is called off, so that it is resumed.
        let pause = Self {
            workspace: Some(workspace.clone()),
        };
        workspace.pause().await?;
        Ok(pause)
    }

    pub(super) async fn end(mut self) -> Result<(), WorkspaceError> {
        match self.workspace.take() {
            Some(workspace) => workspace.resume().await,
            None => Ok(()),
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(workspace) = self.workspace.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if let Err(error) = workspace.resume().await {
                    tracing::warn!(%error, "cannot resume a workspace");
                }
            });
        }
    }
}
