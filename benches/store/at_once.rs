//! What is not there, and many want at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use apptainer::{Apptainer, Image};
use fixtures::{Registry, busybox_archive};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::place::{Place, client};
use crate::report::Row;

/// Has this program ask for an image when it is told to.
pub(crate) const FLAG: &str = "--ask";

const TABLE: &str = "at once, cold";
const IMAGE: &str = "busybox:cold";
const MANY: usize = 32;

/// Who wants it.
#[derive(Clone, Copy)]
enum Wanting {
    Tasks(usize),
    Processes(usize),
}

pub(crate) async fn all(registry: &Registry, rounds: usize) -> Vec<Row> {
    registry.push(&busybox_archive(), IMAGE);
    let mut subjects = [
        ("one task", Wanting::Tasks(1)),
        ("32 tasks", Wanting::Tasks(MANY)),
        ("one process", Wanting::Processes(1)),
        ("32 processes", Wanting::Processes(MANY)),
    ]
    .map(|(name, wanting)| (name, wanting, Vec::new()));
    for round in 0..rounds {
        for step in 0..subjects.len() {
            let (_, wanting, times) = &mut subjects[(round + step) % 4];
            times.push(once(registry, *wanting).await);
        }
    }
    let rows = subjects.map(|(name, _, found)| {
        let (times, by_digest): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let again = by_digest
            .into_iter()
            .map(|count| if count > 0 { 1.0 } else { 0.0 });
        let mut row = Row::new(TABLE, name, &times);
        row.found("conversions", 1.0);
        row.found("requests for blobs", 2.0);
        row.found("requests for the manifest by tag", 1.0);
        row.found("rounds with one more, by digest", again.sum());
        row
    });
    rows.into()
}

/// How long it takes until all have it, who get the same by one conversion; and how often the
/// manifest was asked for again, by its digest.
async fn once(registry: &Registry, wanting: Wanting) -> (Duration, usize) {
    let place = Place::new();
    let asked = || {
        [
            registry.requests("GET /v2/busybox/manifests/cold"),
            registry.requests("GET /v2/busybox/blobs/"),
            registry.requests("HEAD /v2/busybox/"),
            registry.requests("GET /v2/busybox/manifests/sha256:"),
        ]
    };
    let before = asked();
    let reference = registry.reference(IMAGE);
    let (took, answers) = match wanting {
        Wanting::Tasks(count) => tasks(&place, &reference, count).await,
        Wanting::Processes(count) => processes(&place, &reference, count),
    };
    let after = asked();
    let asked: [usize; 4] = std::array::from_fn(|kind| after[kind] - before[kind]);
    let [asked @ .., by_digest] = asked;
    assert_eq!(asked, [1, 2, 0], "a manifest, a configuration, a layer");
    // Who makes the image need not be who asked for it.
    assert!(by_digest <= 1);
    assert_eq!(place.conversions(), 1);
    assert!(answers.iter().all(|got| *got == answers[0]), "{answers:?}");
    (took, by_digest)
}

async fn tasks(place: &Place, reference: &str, count: usize) -> (Duration, Vec<String>) {
    let client = client(place.path(), true).await;
    let ready = Arc::new(Barrier::new(count + 1));
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (client, reference) = (client.clone(), reference.to_owned());
        let ready = Arc::clone(&ready);
        tasks.spawn(async move {
            ready.wait().await;
            get(&client, &reference).await
        });
    }
    ready.wait().await;
    let begin = Instant::now();
    let answers = tasks.join_all().await;
    (begin.elapsed(), answers)
}

fn processes(place: &Place, reference: &str, count: usize) -> (Duration, Vec<String>) {
    let started = (0..count).map(|_| Asker::start(place, reference));
    let mut askers: Vec<_> = started.collect();
    for asker in &mut askers {
        assert_eq!(asker.line(), "ready");
    }
    let begin = Instant::now();
    for asker in &mut askers {
        // The end of its input is the word to begin.
        drop(asker.process.stdin.take());
    }
    let answers = askers.iter_mut().map(Asker::line).collect();
    let took = begin.elapsed();
    for mut asker in askers {
        assert!(asker.process.wait().expect("it is a child").success());
    }
    (took, answers)
}

/// A process that asks.
struct Asker {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Asker {
    fn start(place: &Place, reference: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("it is this program"))
            .arg(FLAG)
            .arg(place.path())
            .arg(reference)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is this program");
        let output = process.stdout.take().expect("it is piped");
        Self {
            process,
            output: BufReader::new(output),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it is text");
        line.trim_end().to_owned()
    }
}

/// Such a process.
pub(crate) async fn ask(folder: &Path, reference: &str) {
    let client = client(folder, true).await;
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
    println!("{}", get(&client, reference).await);
    let _ = std::io::stdout().flush();
}

/// What was got: by its digest and its path.
async fn get(client: &Apptainer, reference: &str) -> String {
    let image: Image = client
        .image(reference)
        .no_https()
        .await
        .expect("it is in the registry");
    let digest = image.digest().expect("it came from a registry");
    format!("{digest} {}", image.path().display())
}
