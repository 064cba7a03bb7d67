//! Links over a stream of bytes: what `ssh` or `srun` would carry, an `apptainer exec` does.

mod commands;
mod ends;
mod flow;
mod hung;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use apptainer::exec::{ChildStdin, ChildStdout};
use apptainer::sys::process::Process;
use apptainer::{Child, Command, Link, Stdio};
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Long enough for anything here.
const GUARD: Duration = Duration::from_secs(60);

/// A link, and what carries it.
pub(super) struct Far {
    link: Link,
    carrier: Child,
}

impl Far {
    pub(super) async fn of(world: &World) -> Self {
        let (carrier, reader, writer) = carrier(world).await;
        let link = Link::over(reader, writer).await.unwrap();
        Self { link, carrier }
    }

    /// The same, but nothing comes through while `gate` is locked.
    async fn through(world: &World, gate: Arc<Mutex<()>>) -> Self {
        let (carrier, mut from, writer) = carrier(world).await;
        let (reader, mut to) = duplex(1 << 20);
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                let _open = gate.lock().await;
                to.write_all(&buffer[..length]).await.unwrap();
            }
        });
        let link = Link::over(reader, writer).await.unwrap();
        Self { link, carrier }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Says goodbye. The agent ends by itself.
    pub(super) async fn close(mut self) {
        self.link.close().await.unwrap();
        assert!(ended(&mut self.carrier).await.success());
    }
}

/// An agent, and its two streams.
async fn carrier(world: &World) -> (Child, ChildStdout, ChildStdin) {
    let container = world.container().await;
    let agent = world.folder().join("agent");
    fs::write(&agent, Link::agent_program().unwrap()).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = container.command(&agent);
    command
        .arg("stream")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut carrier = command.spawn().await.unwrap();
    let reader = carrier.stdout.take().unwrap();
    let writer = carrier.stdin.take().unwrap();
    (carrier, reader, writer)
}

async fn ended(child: &mut Child) -> apptainer::ExitStatus {
    timeout(GUARD, child.wait())
        .await
        .expect("it ends")
        .unwrap()
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn sh(link: &Link, script: &str) -> Command {
    let mut command = link.command("sh");
    command.args(["-c", script]);
    command
}

/// Bytes in which whatever is lost, doubled or in another order shows.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// How many processes there are that sleep for so long.
fn sleeping(seconds: &str) -> usize {
    let processes = Process::all().unwrap();
    let argv = |process: &Process| fs::read(format!("/proc/{}/cmdline", process.pid));
    let is_one = |line: Vec<u8>| line == format!("sleep\0{seconds}\0").as_bytes();
    let found = processes
        .iter()
        .filter(|process| argv(process).is_ok_and(is_one));
    found.count()
}

async fn until_sleeping(seconds: &str, count: usize) {
    let counted = async {
        while sleeping(seconds) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(GUARD, counted).await;
    waited.unwrap_or_else(|_| panic!("{} of {count} sleep", sleeping(seconds)));
}
