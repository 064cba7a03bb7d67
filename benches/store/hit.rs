//! What is in the store.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apptainer::Apptainer;
use apptainer::image::{Acquire, PullPolicy};
use fixtures::{Registry, busybox_archive};

use crate::place::{Place, client};
use crate::report::Row;
use crate::rows;

/// Has this program measure hits.
pub(crate) const FLAG: &str = "--hits";

const TABLE: &str = "a hit";
const IMAGE: &str = "busybox:hit";
/// How often each has its turn in a round.
const TURNS: usize = 20;
/// How many hits are looked at for what they start and ask.
const COUNTED: usize = 1000;
const TARGET_US: f64 = 100.0;

/// Puts an image into a store, and has another process measure hits of it.
pub(crate) async fn all(registry: &Registry, rounds: usize) -> Vec<Row> {
    registry.push(&busybox_archive(), IMAGE);
    let digest = registry.reference(&format!("busybox@{}", registry.digest(IMAGE)));
    let tag = registry.reference(IMAGE);
    let place = Place::new();
    let client = client(place.path(), false).await;
    for reference in [&digest, &tag] {
        let image = client.image(reference).no_https().await;
        drop(image.expect("it is in the registry"));
    }
    let asked = || ["GET /", "HEAD /"].map(|request| registry.requests(request));
    let before = asked();
    // The process is the first in a PID namespace, and dies with the one that made that.
    let measured = Command::new("unshare")
        .args(["--user", "--map-current-user", "--pid", "--fork"])
        .arg("--kill-child")
        .arg(std::env::current_exe().expect("it is this program"))
        .arg(FLAG)
        .arg(place.path())
        .args([digest, tag, rounds.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("util-linux is installed");
    assert!(measured.status.success(), "{}", measured.status);
    assert_eq!(asked(), before, "hits ask the registry for nothing");
    serde_json::from_slice(&measured.stdout).expect("it went to its end")
}

/// Measures hits of what is in the store of a place, and prints rows.
pub(crate) async fn measure(folder: &Path, references: [&str; 2], rounds: usize) {
    assert_eq!(std::process::id(), 1, "this is the first of its namespace");
    let client = client(folder, false).await;
    let [digest, tag] = references;
    let sif = hit(&client, digest).await.expect("it is there");
    let sif = sif.path().to_owned();

    let mut subjects = [
        ("stat of the file", Subject::Stat(&sif)),
        ("apptainer version", Subject::Version),
        ("by digest", Subject::Hit(digest)),
        ("by tag, IfOlderThan", Subject::Hit(tag)),
    ]
    .map(|(name, subject)| (name, subject, Vec::new()));
    for round in 0..rounds {
        for step in 0..subjects.len() {
            let (_, subject, times) = &mut subjects[(round + step) % 4];
            let turns = if matches!(subject, Subject::Version) {
                1
            } else {
                TURNS
            };
            // What came before is in the caches still.
            subject.time(&client).await;
            for _ in 0..turns {
                let took = subject.time(&client).await;
                times.push(took);
            }
        }
    }
    let mut rows = Vec::new();
    for (name, subject, times) in subjects {
        let mut row = Row::new(TABLE, name, &times);
        if let Subject::Hit(reference) = subject {
            let started = started(&client, reference).await;
            row = row.with_target(TARGET_US);
            assert_eq!(started, 0, "hits start no process and no thread");
            row.found(&format!("started and asked by {COUNTED}"), 0.0);
        }
        rows.push(row);
    }
    print!("{}", rows::json(&rows));
}

enum Subject<'a> {
    Stat(&'a Path),
    Version,
    Hit(&'a str),
}

impl Subject<'_> {
    async fn time(&self, client: &Apptainer) -> Duration {
        let begin = Instant::now();
        match self {
            Self::Stat(path) => {
                let found = path.metadata();
                let took = begin.elapsed();
                found.expect("it is there");
                took
            }
            Self::Version => {
                let status = Command::new("apptainer")
                    .arg("version")
                    .stdout(Stdio::null())
                    .status();
                let took = begin.elapsed();
                assert!(status.expect("it is installed").success());
                took
            }
            Self::Hit(reference) => {
                let image = hit(client, reference).await;
                let took = begin.elapsed();
                image.expect("it is in the store");
                took
            }
        }
    }
}

fn hit(client: &Apptainer, reference: &str) -> Acquire {
    client
        .image(reference)
        .no_https()
        .policy(PullPolicy::IfOlderThan(Duration::from_secs(3600)))
}

/// How many processes and threads hits start.
async fn started(client: &Apptainer, reference: &str) -> u32 {
    let before = next_number();
    for _ in 0..COUNTED {
        let image = hit(client, reference).await;
        image.expect("it is in the store");
    }
    next_number() - before - 1
}

/// The number that whatever starts next gets in this namespace; it is taken by that.
fn next_number() -> u32 {
    let mut probe = Command::new("true").spawn().expect("it is there");
    probe.wait().expect("it is a child of ours");
    probe.id()
}
