//! Running commands from a process with much memory: this program, run again.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::subject;

/// Tells this program to be the other one.
pub(crate) const FLAG: &str = "--resident";

const BYTES: usize = 4 << 30;

/// The process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Resident {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _process: Child,
}

impl Resident {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("it runs");
        let mut process = Command::new(program)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be run again");
        let requests = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self {
            pipes: Mutex::new((requests, answers.lines())),
            _process: process,
        }
    }

    /// Has it run a subject once, and tells how long that took there.
    pub(crate) async fn time(&self, name: &str) -> Duration {
        let (requests, answers) = &mut *self.pipes.lock().await;
        let request = format!("{name}\n");
        requests
            .write_all(request.as_bytes())
            .await
            .expect("it listens");
        let answer = answers.next_line().await.expect("it can be read");
        let answer = answer.expect("it answers");
        Duration::from_nanos(answer.parse().expect("it is a number"))
    }
}

/// What it does: for each name on standard input, one run of that subject.
pub(crate) async fn serve() {
    // Written to, so that it is there.
    let ballast: Vec<u8> = vec![1; BYTES];
    let mut subjects = HashMap::new();
    let mut names = BufReader::new(tokio::io::stdin()).lines();
    while let Some(name) = names.next_line().await.expect("it can be read") {
        if !subjects.contains_key(&name) {
            let subject = subject::make(&name).await.expect("its engine runs");
            subjects.insert(name.clone(), subject);
        }
        let begin = Instant::now();
        subjects[&name].run_once().await;
        let took = begin.elapsed();
        println!("{}", took.as_nanos());
    }
    drop(ballast);
}
