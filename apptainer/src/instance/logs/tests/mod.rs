//! Logs in files, with processes that write to them.

mod interrupted;
mod keeping;
mod killed;
mod reading;
mod rotating;
mod tailing;

use std::fs::{self, File};
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Pid, PidFd, Process, Signal, State};

use super::files::Files;
use super::{Halt, Halting, LogError, LogLine, LogLines, ReadLogs};

/// Two empty logs in a directory of their own.
struct Logs {
    folder: tempfile::TempDir,
}

impl Logs {
    /// On a file system that, where tests are run, can take blocks out of a file.
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    /// On one that cannot.
    fn in_memory() -> Self {
        Self::in_folder(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn in_folder(folder: tempfile::TempDir) -> Self {
        let logs = Self { folder };
        for path in logs.paths() {
            File::create(path).unwrap();
        }
        logs
    }

    fn paths(&self) -> [PathBuf; 2] {
        ["x.out", "x.err"].map(|name| self.folder.path().join(name))
    }

    fn out(&self) -> Files {
        let [out, _] = self.paths();
        Files::new(out)
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        append(&self.paths()[0], text.as_ref());
    }

    fn write_error(&self, text: impl AsRef<[u8]>) {
        append(&self.paths()[1], text.as_ref());
    }

    /// Reads what this process wrote.
    fn read(&self) -> ReadLogs {
        self.read_of(PidFd::open(Pid::try_from(std::process::id()).unwrap()))
    }

    fn read_of(&self, process: io::Result<PidFd>) -> ReadLogs {
        ReadLogs::new(self.paths(), [0; 2], process)
    }

    /// What `x.out` has, as readers see it.
    async fn text(&self) -> String {
        let lines = self.read().stderr(false).lines().await.unwrap();
        let mut text = String::new();
        for line in all(lines).await {
            text.push_str(&line.text());
            if line.is_complete {
                text.push('\n');
            }
        }
        text
    }

    /// What is in the files of `x.out`, the oldest first.
    fn files(&self) -> Vec<Vec<u8>> {
        let rotated = (1..).map(|number| self.out().rotated(number));
        let mut files: Vec<_> = rotated.map_while(|path| fs::read(path).ok()).collect();
        files.reverse();
        files.push(fs::read(self.out().log()).unwrap());
        files
    }
}

fn append(path: &PathBuf, text: &[u8]) {
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(text).unwrap();
}

/// `line FIRST` to `line LAST`.
fn numbered(numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |text, number| {
        text + &format!("line {number}\n")
    })
}

/// Guards against hanging only.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}

async fn next(lines: &mut LogLines) -> Option<Result<LogLine, LogError>> {
    in_time(lines.next()).await
}

async fn all(mut lines: LogLines) -> Vec<LogLine> {
    let mut found = Vec::new();
    while let Some(line) = next(&mut lines).await {
        found.push(line.unwrap());
    }
    found
}

async fn texts(lines: LogLines) -> Vec<String> {
    let lines = all(lines).await;
    lines.iter().map(|line| line.text().into_owned()).collect()
}

/// A shell that writes numbered lines to a log as fast as it can.
#[derive(Debug)]
struct Writer {
    child: Child,
}

impl Writer {
    fn endless(logs: &Logs) -> Self {
        Self::start(logs, ":")
    }

    fn of(logs: &Logs, lines: u32) -> Self {
        Self::start(logs, &format!("[ $i -lt {lines} ]"))
    }

    fn start(logs: &Logs, condition: &str) -> Self {
        let script = format!("i=0; while {condition}; do echo line $i; i=$((i+1)); done");
        let log = File::options().append(true).open(logs.out().log()).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .stdout(log)
            .stdin(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
        }
    }

    fn pid(&self) -> Pid {
        Pid::try_from(self.child.id()).unwrap()
    }

    fn pidfd(&self) -> io::Result<PidFd> {
        PidFd::open(self.pid())
    }

    fn halt(&self) -> Arc<Halts> {
        Arc::new(Halts { pid: self.pid() })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Halts one process.
#[derive(Debug)]
struct Halts {
    pid: Pid,
}

impl Halts {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        PidFd::open(self.pid)?.signal(signal)
    }
}

impl Halt for Halts {
    fn halt(&self) -> Halting<'_> {
        Box::pin(async {
            self.signal(Signal::STOP)?;
            // It comes to that at its next chance.
            while Process::read(self.pid)?
                .is_some_and(|process| !matches!(process.state, State::Stopped | State::Zombie))
            {
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    }

    fn resume(&self) -> Halting<'_> {
        Box::pin(async { self.signal(Signal::CONT) })
    }
}

/// For logs that nobody writes to.
#[derive(Debug)]
struct Nobody;

impl Halt for Nobody {
    fn halt(&self) -> Halting<'_> {
        Box::pin(async { Ok(()) })
    }

    fn resume(&self) -> Halting<'_> {
        Box::pin(async { Ok(()) })
    }
}

fn nobody() -> Arc<dyn Halt> {
    Arc::new(Nobody)
}
