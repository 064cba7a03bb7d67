//! `apptainer exec instance://NAME`, as somebody without our crates runs it; and the
//! first command on a fresh link to an instance, which takes one of those.

use apptainer::{Apptainer, Instance, Stdio};

use crate::process::Process;
use crate::subject::{Subject, TRUE, Work, on_host};

/// A client, and the instance that it joins.
#[derive(Debug)]
pub(crate) struct ApptainerExec {
    client: Process,
    /// Dropped, it is gone.
    _instance: Instance,
}

impl ApptainerExec {
    /// Starts the instance.
    pub(crate) async fn start() -> Self {
        let (_, instance) = start().await;
        let address = format!("instance://{}", instance.name());
        Self {
            client: Process::behind(["apptainer", "exec", &address], on_host()),
            _instance: instance,
        }
    }
}

impl Subject for ApptainerExec {
    fn run_once(&self) -> Work<'_, ()> {
        self.client.run_once()
    }

    fn stream(&self) -> Option<Work<'_, u64>> {
        self.client.stream()
    }
}

/// A link that is made for one command.
#[derive(Debug)]
pub(crate) struct FirstCommand {
    client: Apptainer,
    instance: Instance,
}

impl FirstCommand {
    /// Starts the instance.
    pub(crate) async fn start() -> Self {
        let (client, instance) = start().await;
        Self { client, instance }
    }
}

impl Subject for FirstCommand {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            let link = self.client.link_instance(self.instance.name()).await;
            let link = link.expect("the instance runs");
            let mut command = link.command(on_host());
            let output = command.args(TRUE).stdin(Stdio::null()).output().await;
            let output = output.expect("the program is there");
            assert!(output.status.success(), "{output:?}");
        })
    }
}

async fn start() -> (Apptainer, Instance) {
    let client = Apptainer::discover().await.expect("Apptainer is installed");
    let image = client.image(fixtures::busybox_sif()).await;
    let instance = image.expect("the image is whole").container().start().await;
    (client, instance.expect("it starts"))
}
