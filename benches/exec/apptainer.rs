//! `apptainer exec instance://NAME`, as somebody without our crates runs it.

use apptainer::{Apptainer, Instance};

use crate::process::Process;
use crate::subject::{Subject, Work, on_host};

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
        let apptainer = Apptainer::discover().await.expect("Apptainer is installed");
        let image = apptainer.image(fixtures::busybox_sif()).await;
        let instance = image.expect("the image is whole").container().start().await;
        let instance = instance.expect("it starts");
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
