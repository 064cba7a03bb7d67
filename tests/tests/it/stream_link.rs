//! Links over a stream of bytes: what `ssh` or `srun` would carry, an `apptainer exec` does.

mod commands;
mod ends;
mod flow;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use apptainer::sys::process::Process;
use apptainer::{Child, Command, Link, Stdio};
use fixtures::World;
use tokio::time::timeout;

/// Long enough for anything here.
const GUARD: Duration = Duration::from_secs(60);

/// A link, and what carries it.
struct Far {
    link: Link,
    carrier: Child,
}

impl Far {
    async fn of(world: &World) -> Self {
        let container = world.container().await;
        let agent = world.folder().join("agent");
        fs::write(&agent, Link::agent_program().unwrap()).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        let mut carrier = container
            .command(&agent)
            .arg("stream")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let reader = carrier.stdout.take().unwrap();
        let writer = carrier.stdin.take().unwrap();
        let link = Link::over(reader, writer).await.unwrap();
        Self { link, carrier }
    }

    /// Says goodbye. The agent ends by itself.
    async fn close(mut self) {
        self.link.close().await.unwrap();
        assert!(ended(&mut self.carrier).await.success());
    }
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
