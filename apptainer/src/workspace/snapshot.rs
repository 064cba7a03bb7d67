//! An image of what is in a workspace.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use super::fork::Pause;
use super::layer::{Owners, copy_to};
use super::{Workspace, WorkspaceError};
use crate::Image;
use crate::image::{Commit, Compression, Progress};

/// An image that is made of a workspace: from [`Workspace::snapshot`]. Await it.
#[derive(Clone)]
#[must_use = "an image is made when this is awaited"]
pub struct Snapshot {
    workspace: Workspace,
    commit: Commit,
}

impl Workspace {
    /// A new image in the store, of the workspace's image and all that was written to it: not of
    /// what lies in directories of the host or in memory (`/tmp`, `/dev/shm`, the home directory),
    /// nor of processes. Whoever owned its files, in the image the workspace's user does, which is root where that
    /// is [root inside](super::WorkspaceBuilder::fakeroot); they are as they were only where this
    /// process is root's. Set-user-ID and set-group-ID bits are left out.
    ///
    /// The workspace is [paused](Self::pause) while what was written is copied, so that it is of one
    /// moment; the image is made while it goes on. The image is like no other: it stays in the store
    /// until that is [pruned](crate::image::Store::prune), and [`Image::path`] is what another
    /// workspace is started from, now or by another program.
    ///
    /// Dropping the future leaves the workspace and the store as they were.
    ///
    /// ```no_run
    /// # async fn example(workspace: apptainer::Workspace, apptainer: apptainer::Apptainer) -> Result<(), Box<dyn std::error::Error>> {
    /// workspace.execute("pip install requests").await?;
    /// let image = workspace.snapshot().await?;
    /// let another = apptainer.workspace(&image).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            workspace: self.clone(),
            commit: Commit::new(&self.shared.client),
        }
    }
}

impl Snapshot {
    /// What the SIF file is to be compressed with: what Apptainer takes by itself, otherwise.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.commit.compression(compression);
        self
    }

    /// How long making the image may take: an hour otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.commit.timeout(limit);
        self
    }

    /// Calls `call` when a phase begins and, within one, now and then.
    pub fn on_progress(mut self, call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.commit.on_progress(call);
        self
    }

    async fn make(self) -> Result<Image, WorkspaceError> {
        let service = self.workspace.service();
        let (Some(layer), Some(image)) = (service.layer(), service.image()) else {
            return Err(WorkspaceError::NoLayer);
        };
        if self.workspace.shared.spec.has_overlays() {
            return Err(WorkspaceError::Unsupported {
                doing: "make an image of a workspace",
                reason: "it has overlays besides its temporary one, which are not in its image",
            });
        }
        let made = self.commit.begin(&image.to_string_lossy()).await?;
        let pause = Pause::of(&self.workspace).await?;
        let target = made.layer();
        let copied = copy_to(layer, service.pid(), target, Owners::ThisUser, made.keep()).await;
        pause.end().await?;
        copied?;
        let is_roots = self.workspace.shared.spec.is_fakeroot();
        Ok(made.finish(image, is_roots).await?)
    }
}

impl IntoFuture for Snapshot {
    type Output = Result<Image, WorkspaceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}
