//! A command as these crates run it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use apptainer::{Apptainer, Command, Instance, Link, Stdio};

use crate::subject::{STREAM, Subject, TRUE, Work};

/// In an instance, or over a link alone, which may be one over a stream.
#[derive(Debug)]
pub(crate) struct Ours {
    place: Place,
    program: String,
}

#[derive(Debug)]
enum Place {
    Instance(Instance),
    Link(Link),
    Stream {
        link: Link,
        /// What carries its bytes; it ends with them.
        _carrier: tokio::process::Child,
    },
}

impl Ours {
    /// An instance, whose agent has been started.
    pub(crate) async fn instance(program: String) -> Self {
        let instance = image().await.container().start().await;
        let place = Place::Instance(instance.expect("it starts"));
        let ours = Self { place, program };
        ours.run_once().await;
        ours
    }

    /// A link to an image.
    pub(crate) async fn link(program: String) -> Self {
        let link = image().await.container().link().await;
        let place = Place::Link(link.expect("it starts"));
        Self { place, program }
    }

    /// A link to an image, over the pipes of an `apptainer exec`.
    pub(crate) async fn stream_link(program: String) -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let agent = folder.path().join("agent");
        let bytes = Link::agent_program().expect("there is one for this processor");
        fs::write(&agent, bytes).expect("it is writable");
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&agent, permissions).expect("it is ours");
        let mut carrier = tokio::process::Command::new("apptainer")
            .arg("exec")
            .arg(fixtures::busybox_sif())
            .arg(&agent)
            .arg("stream")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("Apptainer is installed");
        let reader = carrier.stdout.take().expect("it is piped");
        let writer = carrier.stdin.take().expect("it is piped");
        let link = Link::over(reader, writer).await;
        let place = Place::Stream {
            link: link.expect("the agent answers"),
            _carrier: carrier,
        };
        Self { place, program }
    }

    pub(crate) fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = match &self.place {
            Place::Instance(instance) => instance.command(&self.program),
            Place::Link(link) | Place::Stream { link, .. } => link.command(&self.program),
        };
        command.args(args).stdin(Stdio::null());
        command
    }
}

async fn image() -> apptainer::Image {
    let apptainer = Apptainer::discover().await.expect("Apptainer is installed");
    let image = apptainer.image(fixtures::busybox_sif()).await;
    image.expect("the image is whole")
}

impl Subject for Ours {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            let output = self.command(TRUE).output().await;
            let output = output.expect("the program is there");
            assert!(output.status.success(), "{output:?}");
        })
    }

    fn stream(&self) -> Option<Work<'_, u64>> {
        Some(Box::pin(async {
            let mut command = self.command(STREAM);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().await.expect("the program is there");
            let bytes = crate::process::count(child.stdout.take().expect("it is piped")).await;
            let status = child.wait().await.expect("it is ours to wait for");
            assert!(status.success(), "{status}");
            bytes
        }))
    }
}
