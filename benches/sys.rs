//! What `apptainer-sys` does itself, against the same by way of `apptainer`; and
//! spawning from a large process against spawning from a small one.
//!
//! - *inspect*: `apptainer inspect --json IMAGE` and reading its output, against
//!   `SifFile::open` and `metadata`, of the same SIF file.
//! - *instance list*: `apptainer instance list --json` and reading its output,
//!   against reading the records, with one instance running.
//! - *spawn*: starting `/bin/true` and waiting for it, from a process with 4 GiB
//!   resident against one with nothing. Each is a process of its own, this program
//!   run again, that is told over a pipe to do it and answers with the time.
//!
//! Each round does both, one right after the other, and every other round the
//! other way round. Medians are of all rounds.

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use apptainer::Apptainer;
use apptainer::sys::output::{InstanceList, Metadata};
use apptainer::sys::process::{Exit, Spawn};
use apptainer::sys::sif::SifFile;
use harness::{Millis, compare};

/// Set for this program when it is to spawn: how many bytes to keep resident.
const RESIDENT: &str = "BENCH_RESIDENT_BYTES";

fn main() {
    if let Some(bytes) = std::env::var_os(RESIDENT) {
        let bytes = bytes.to_str().and_then(|bytes| bytes.parse().ok());
        serve(bytes.expect("it is a number"));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("the system lets us").block_on(async {
        inspect().await;
        list().await;
        spawn().await;
    });
}

fn output(words: &[&str]) -> Vec<u8> {
    let output = Command::new("apptainer").args(words).output();
    output.expect("apptainer is installed").stdout
}

fn timed<T>(work: impl FnOnce() -> T) -> Millis {
    let begin = Instant::now();
    let done = work();
    let took = begin.elapsed();
    drop(done);
    Millis::from(took)
}

async fn inspect() {
    let image = fixtures::busybox_sif();
    let path = image.to_str().expect("its name is text");
    compare(
        "inspect",
        ["apptainer inspect", "natively"],
        async || {
            timed(|| {
                let json = output(&["inspect", "--json", "--all", path]);
                serde_json::from_slice::<Metadata>(&json).expect("it is what we know")
            })
        },
        async || {
            timed(|| {
                let sif = SifFile::open(&image).expect("it is whole");
                sif.metadata()
                    .expect("it is what we know")
                    .expect("it is there")
            })
        },
    )
    .await;
}

async fn list() {
    let apptainer = Apptainer::discover().await.expect("it is installed");
    let image = apptainer.image(fixtures::busybox_sif()).await;
    let instance = image.expect("it is whole").container().start().await;
    let instance = instance.expect("it starts");
    compare(
        "instance list",
        ["apptainer instance", "natively"],
        async || {
            timed(|| {
                let json = output(&["instance", "list", "--json"]);
                let list: InstanceList = serde_json::from_slice(&json).expect("we know it");
                assert!(!list.instances.is_empty());
            })
        },
        async || {
            let begin = Instant::now();
            let list = apptainer.instances().await.expect("they can be read");
            let took = begin.elapsed();
            assert!(!list.is_empty());
            Millis::from(took)
        },
    )
    .await;
    instance.stop().await.expect("it stops");
}

async fn spawn() {
    const LARGE: usize = 4 << 30;
    let (mut small, mut large) = (Server::start(0), Server::start(LARGE));
    compare(
        "spawn of /bin/true",
        ["from nothing", "from 4 GiB"],
        async || small.ask(),
        async || large.ask(),
    )
    .await;
}

/// This program, spawning on demand.
struct Server {
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    process: std::process::Child,
}

impl Server {
    fn start(resident: usize) -> Self {
        let program = std::env::current_exe().expect("it runs");
        let mut process = Command::new(program)
            .env(RESIDENT, resident.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be run again");
        let answers = process.stdout.take().expect("it is piped");
        Self {
            requests: process.stdin.take(),
            answers: BufReader::new(answers),
            process,
        }
    }

    fn ask(&mut self) -> Millis {
        let requests = self.requests.as_mut().expect("it runs until it is dropped");
        requests.write_all(b"\n").expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        Millis::from(std::time::Duration::from_nanos(
            answer.trim().parse().expect("it is a number"),
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.process.wait();
    }
}

fn serve(resident: usize) {
    // Written to, so that it is there.
    let ballast: Vec<u8> = vec![1; resident];
    for _ in std::io::stdin().lines() {
        let begin = Instant::now();
        let mut child = Spawn::new("/bin/true").spawn().expect("it is there");
        let exit = child.wait().expect("it ends");
        let took = begin.elapsed();
        assert_eq!(exit, Exit::Code(0));
        println!("{}", took.as_nanos());
    }
    drop(ballast);
}
