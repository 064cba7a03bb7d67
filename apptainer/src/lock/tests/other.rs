//! Another process that takes locks: this test program once more.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::super::{FileLock, Locking};

/// A process that does what it is asked to.
#[derive(Debug)]
pub(super) struct Other {
    child: Child,
    requests: ChildStdin,
    // Nothing else is written there, as it is to the standard output.
    answers: BufReader<std::process::ChildStderr>,
}

impl Other {
    pub(super) fn new(path: &Path, locking: Locking, length: Duration) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lock::tests::other::is_another_process"])
            .args(["--ignored", "--nocapture"])
            .env("LOCK_PATH", path)
            .env("LOCK_IS_LEASE", (locking == Locking::Lease).to_string())
            .env("LOCK_MILLIS", length.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(super) fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.answer()
    }

    pub(super) fn send(&mut self, request: &str) {
        writeln!(self.requests, "{request}").unwrap();
    }

    pub(super) fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(status.unwrap().success());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "is started by other tests"]
fn is_another_process() {
    let Some(path) = std::env::var_os("LOCK_PATH").map(PathBuf::from) else {
        return;
    };
    let locking = match std::env::var("LOCK_IS_LEASE").unwrap().as_str() {
        "true" => Locking::Lease,
        _ => Locking::Flock,
    };
    let millis = std::env::var("LOCK_MILLIS").unwrap().parse().unwrap();
    let length = Duration::from_millis(millis);
    let take = || FileLock::try_take_for(&path, locking, length).unwrap();
    let mut held = None;
    for request in std::io::stdin().lines() {
        let answer = match request.unwrap().as_str() {
            "take" => {
                held = take();
                held.is_some().to_string()
            }
            "is held" => held.as_ref().is_some_and(FileLock::is_held).to_string(),
            "drop" => {
                held = None;
                "dropped".to_owned()
            }
            "count" => count(&path.with_extension("count"), take).to_string(),
            "hold" => hold(take),
            request => panic!("{request}"),
        };
        eprintln!("{answer}");
    }
}

/// Takes the lock again and again for a few seconds, and returns from when until when it had it,
/// in nanoseconds, as far as it was told.
fn hold(take: impl Fn() -> Option<FileLock>) -> String {
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let began = Instant::now();
    let mut times = String::new();
    while began.elapsed() < Duration::from_secs(6) {
        let Some(lock) = take() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let from = now();
        let mut until = from;
        while until < from + 300_000_000 {
            let asked = now();
            if !lock.is_held() {
                break;
            }
            until = asked;
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = write!(times, "{from} {until},");
    }
    times + "that is all"
}

/// Adds one to the number in a file as often as it gets the lock, and returns how often.
pub(super) fn count(number: &Path, take: impl Fn() -> Option<FileLock>) -> u32 {
    let mut times = 0;
    while times < 20 {
        let Some(lock) = take() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let before: u32 = fs::read_to_string(number).unwrap().parse().unwrap();
        std::thread::sleep(Duration::from_micros(200));
        fs::write(number, (before + 1).to_string()).unwrap();
        assert!(lock.is_held());
        times += 1;
    }
    times
}
