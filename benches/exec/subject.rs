//! What is compared.
//!
//! To add a subject: implement [`Subject`], give it a name in [`AS_USER`] or
//! [`AS_ROOT`], and say in [`make`] how it is made. If it is to be measured from a
//! large process too, its name goes into [`FROM_LARGE`] as well.

use std::pin::Pin;
use std::rc::Rc;

use crate::api::Api;
use crate::apptainer::{ApptainerExec, FirstCommand};
use crate::key;
use crate::ours::Ours;
use crate::process::Process;

/// What the subjects of a pass are, in the order in which they are printed. The
/// first is the baseline.
pub(crate) const AS_USER: &[&str] = &[
    "host",
    "instance",
    "instance, its own file",
    "link",
    "stream link",
    "apptainer exec",
    "first command",
    "docker exec",
    "docker API",
    "host, a key",
    "instance, a key",
];
/// The same of the pass as root.
pub(crate) const AS_ROOT: &[&str] = &["host as root", "runc exec", "podman exec"];
/// Those of which only one is under way at a time.
pub(crate) const ALONE: &[&str] = &["first command", "host, a key", "instance, a key"];
/// Those that are measured from a process with 4 GiB resident, too.
pub(crate) const FROM_LARGE: &[&str] = &["host", "instance"];

/// Where the program is in the engines' containers, and in the image.
pub(crate) const IN_IMAGE: &str = "/bin/busybox";

/// Where it is for the host, and for what Apptainer runs: the very same file, on the
/// host's `/tmp`, which Apptainer shows its containers.
pub(crate) fn on_host() -> String {
    let path = fixtures::busybox_program();
    path.to_str().expect("it is plain ASCII").to_owned()
}

/// What runs to measure latency.
pub(crate) const TRUE: &[&str] = &["true"];
/// What runs to measure streaming: it writes [`STREAMED`] bytes.
pub(crate) const STREAM: &[&str] = &["dd", "if=/dev/zero", "bs=1M", "count=1024"];
/// How much [`STREAM`] writes.
pub(crate) const STREAMED: u64 = 1 << 30;
/// The same in MiB.
pub(crate) const STREAMED_MIB: f64 = 1024.0;
/// How much is read at once where the reader decides.
pub(crate) const BUFFER: usize = 256 << 10;

/// What a subject does, on its own thread.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A way to run a command. It panics when it fails.
pub(crate) trait Subject {
    /// Runs [`TRUE`] and reads what it writes to the end.
    fn run_once(&self) -> Work<'_, ()>;

    /// Runs [`STREAM`] and tells how many bytes came out of it, where that is
    /// measured.
    fn stream(&self) -> Option<Work<'_, u64>> {
        None
    }
}

/// The subject of that name; `None` if its engine does not run.
pub(crate) async fn make(name: &str) -> Option<Rc<dyn Subject>> {
    Some(match name {
        "host" | "host as root" => Rc::new(Process::host()),
        "instance" => Rc::new(Ours::instance(on_host()).await),
        "instance, its own file" => Rc::new(Ours::instance(IN_IMAGE.to_owned()).await),
        "link" => Rc::new(Ours::link(on_host()).await),
        "stream link" => Rc::new(Ours::stream_link(on_host()).await),
        "apptainer exec" => Rc::new(ApptainerExec::start().await),
        "host, a key" => Rc::new(key::OnHost::start().await),
        "instance, a key" => {
            let place = Ours::instance(on_host()).await;
            Rc::new(key::InContainer::start(place).await)
        }
        "first command" => Rc::new(FirstCommand::start().await),
        "docker exec" => Rc::new(Process::engine("BENCH_DOCKER_EXEC")?),
        "docker API" => Rc::new(Api::connect().await?),
        "runc exec" => Rc::new(Process::engine("BENCH_RUNC_EXEC")?),
        "podman exec" => Rc::new(Process::engine("BENCH_PODMAN_EXEC")?),
        _ => panic!("there is no subject of the name {name}"),
    })
}
