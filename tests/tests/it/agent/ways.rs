//! The two ways to an agent: a link, and an instance.

use std::path::PathBuf;

use apptainer::exec::OnDisconnect;
use apptainer::{Command, Instance, Link};
use fixtures::World;

/// A link that outlives its program, and where it is found again.
pub(super) async fn detached(world: &World) -> (Link, PathBuf) {
    let socket = world.folder().join("links/one");
    let on_disconnect = OnDisconnect::Detach(socket.clone());
    let container = world.container().await;
    let link = container.link().on_disconnect(on_disconnect).await;
    (link.unwrap(), socket)
}

/// An agent each.
pub(super) struct Ways {
    pub(super) link: Link,
    pub(super) instance: Instance,
}

impl Ways {
    pub(super) async fn of(world: &World) -> Self {
        let container = world.container().await;
        Self {
            link: container.link().await.unwrap(),
            instance: container.start().await.unwrap(),
        }
    }

    /// The same command by each.
    pub(super) fn commands(&self, program: &str) -> [(&'static str, Command); 2] {
        [
            ("link", self.link.command(program)),
            ("instance", self.instance.command(program)),
        ]
    }

    pub(super) async fn finish(self, world: World) {
        self.link.close().await.unwrap();
        self.instance.stop().await.unwrap();
        world.finish();
    }
}
