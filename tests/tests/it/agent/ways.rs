//! The two ways to an agent: a link, and an instance.

use apptainer::{Command, Instance, Link};
use fixtures::World;

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
